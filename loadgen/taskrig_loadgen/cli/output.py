"""Writing what a run leaves: the report on stdout and the files asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.analysis.expectations import Expectation, judge_all, parse_expectation
from taskrig_loadgen.cli.console import report_console
from taskrig_loadgen.report import csv, html, junit, markdown
from taskrig_loadgen.report.terminal import render
from taskrig_loadgen.result.model import Result
from taskrig_loadgen.result.store import check_target, to_json, write_file
from taskrig_loadgen.result.verdict import exit_code

T = TypeVar("T")
File = tuple[str, Path, Callable[[], str]]  # its flag, where it goes, and what makes its text


def add_output(parser: argparse.ArgumentParser) -> None:
    """--out, --html, --csv, --junit, --markdown, --expect and --json."""
    group = parser.add_argument_group("what it leaves")
    group.add_argument(
        "--out", type=file_name, metavar="FILE", help="write the result to this file as JSON"
    )
    add_reports(group)
    group.add_argument(
        "--expect",
        action="extend",
        nargs="+",
        default=[],
        metavar="EXPR",
        help="condition that the result must meet, such as 'e2e.p99 < 50ms' or 'lost == 0'. If it "
        "does not, the exit code is 99. May be given several times",
    )
    group.add_argument(
        "--json", action="store_true", help="print the result as JSON instead of the report"
    )


def add_reports(group: argparse._ArgumentGroup) -> None:
    """The reports that are made from a result alone."""
    for name, metavar, text in (
        ("--html", "FILE", "write the report to this file as one self-contained page"),
        ("--csv", "DIR", "write the tables to this folder as CSV files"),
        ("--junit", "FILE", "write the checks and expectations to this file as JUnit XML"),
        ("--markdown", "FILE", "write a summary for CI to this file as Markdown"),
    ):
        group.add_argument(name, type=file_name, metavar=metavar, help=text)


def add_texts(parser: argparse.ArgumentParser) -> None:
    """--html and --markdown, of what is made from several results."""
    parser.add_argument(
        "--html",
        type=file_name,
        metavar="FILE",
        help="write the report to this file as one self-contained page",
    )
    parser.add_argument(
        "--markdown",
        type=file_name,
        metavar="FILE",
        help="write a summary for CI to this file as Markdown",
    )


def texts(
    args: argparse.Namespace, makers: Mapping[str, Callable[[T], str]], found: T
) -> Iterator[File]:
    """Those of --html and --markdown that are given."""
    for name, make in makers.items():
        path: Path | None = getattr(args, name)
        if path is not None:
            yield name, path, partial(make, found)


def leave(files: Iterable[File], say: Callable[[], None]) -> None:
    """Write every file, then `say` the report.

    A file that cannot be written, as on a full disk, costs neither another one nor the report.

    Raises:
        UsageError: at the end, for the files that could not be written.
    """
    problems = []
    for name, path, text in files:
        try:
            if name == "csv":
                path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, text())
        except UsageError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"cannot make the folder {path.parent}: {error.strerror}")
        else:
            remark(f"{name}: {path}")
    say()
    if problems:
        raise UsageError("\n".join(problems))


def file_name(text: str) -> Path:
    """A path that is not empty: as of `--out "$NOTHING"`."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)


def check_targets(args: argparse.Namespace) -> None:
    """Before a run: raises UsageError for a file or folder of the flags that cannot be written."""
    for name in ("out", *_FILES):
        path: Path | None = getattr(args, name, None)
        if path is not None:
            check_target(path)
    folder: Path | None = getattr(args, "csv", None)
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"cannot make the folder {folder}: there is a file of that name")
    check_target(folder / "series.csv" if folder.is_dir() else folder)


def read_expectations(args: argparse.Namespace) -> list[Expectation]:
    """Those of --expect; raises UsageError. Call it before the run: a typo must not cost one."""
    check_targets(args)
    return [parse_expectation(text) for text in args.expect]


def finish(result: Result, args: argparse.Namespace, expectations: list[Expectation]) -> int:
    """Judge, write the files, print the report, return the exit code.

    All that also where judging fails: that must not lose a run.
    """
    try:
        judge_all(expectations, result)
    finally:
        code = deliver(result, args)
    return code


def deliver(result: Result, args: argparse.Namespace) -> int:
    """Write every file that the flags name, print the report, return the exit code.

    Raises:
        UsageError: at the end, for the files that could not be written.
    """
    leave(_files(result, args), partial(show, result, as_json=args.json))
    return exit_code(result)


def _files(result: Result, args: argparse.Namespace) -> Iterator[File]:
    """What the flags name: flag, file, and what makes its text."""
    out: Path | None = getattr(args, "out", None)
    if out is not None:
        yield "result", out, partial(to_json, result)
    for name, make in _FILES.items():
        path: Path | None = getattr(args, name)
        if path is not None:
            yield name, path, partial(make, result)
    if args.csv is not None:
        for name, text in csv.tables(result).items():
            yield "csv", args.csv / name, partial(str, text)


def show(result: Result, *, as_json: bool) -> None:
    """The result on stdout, as JSON or as the report."""
    if as_json:
        print(to_json(result))
        return
    console = report_console()
    for part in render(result):
        console.print(part)


_FILES: dict[str, Callable[[Result], str]] = {
    "html": html.page,
    "junit": junit.document,
    "markdown": markdown.summary,
}
