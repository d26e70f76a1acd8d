"""Compare saved results: at least five runs a side, the run is the unit."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.analysis.comparison import MIN_RUNS, Comparison, compare
from taskrig_loadgen.analysis.expectations import figure_of
from taskrig_loadgen.cli import options
from taskrig_loadgen.cli.console import report_console
from taskrig_loadgen.result.model import Environment, Result
from taskrig_loadgen.result.store import load

EXAMPLE = "loadgen compare base-*.json -- new-*.json --figure e2e.p50"
DEFAULT_FIGURES = ("e2e.p50", "service.p50")
HIGHER = ("throughput", "achieved", "offered", "efficiency", "succeeded")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen compare`."""
    parser.add_argument(
        "results", nargs="*", type=Path, metavar="RESULT.json", help="base results, then --"
    )
    parser.add_argument("--base", nargs="+", type=Path, default=[], metavar="FILE")
    parser.add_argument("--new", nargs="+", type=Path, default=[], metavar="FILE")
    add_judgement(parser)


def add_judgement(parser: argparse.ArgumentParser) -> None:
    """--figure, --band and --json."""
    parser.add_argument(
        "--figure",
        nargs="+",
        action="extend",
        default=[],
        metavar="F",
        help="what to compare: e2e.p99, wait{type=T}.mean, makespan, throughput",
    )
    parser.add_argument(
        "--band", default="3%", metavar="P", help="ratios within it are noise (3%%)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """`loadgen compare`: 3 when the new runs are worse in any figure."""
    base, new = _sides(args)
    band = options.percent(args.band, "--band")
    sides = [[load(path) for path in paths] for paths in (base, new)]
    refuse_unlike(sides[0] + sides[1], base + new)
    remark_environment(sides[0], sides[1])
    figures = args.figure or list(default_figures(sides[0][0]))
    found = [compare_results(figure, sides[0], sides[1], band) for figure in figures]
    return show(found, as_json=args.json)


def default_figures(result: Result) -> Sequence[str]:
    """The figures that a workload is usually judged by."""
    return DEFAULT_FIGURES if result.workload.profile else ("makespan", "service.p50")


def _sides(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    base, new = [*args.results, *args.base], list(args.new)
    if min(len(base), len(new)) < MIN_RUNS:
        raise UsageError(
            f"needs at least {MIN_RUNS} results a side, got {len(base)} and {len(new)} "
            "(base ones, then --, then new ones): one run says nothing about the next"
        )
    return base, new


def refuse_unlike(results: Sequence[Result], names: Sequence[Path]) -> None:
    """Raises UsageError when two results are not of the same workload on the same slots."""
    first = _likeness(results[0])
    for result, name in zip(results, names, strict=True):
        for key, value in _likeness(result).items():
            if value != first[key]:
                raise UsageError(
                    f"unlike workloads are not compared: {key} is {value!r} in {name} "
                    f"and {first[key]!r} in {names[0]}"
                )


def _likeness(result: Result) -> dict[str, object]:
    shape = msgspec.structs.asdict(result.workload)
    del shape["seed"]  # another one is another sample of the same load
    return {**shape, "kind": result.kind, "interrupted": result.interrupted}


def remark_environment(a: Sequence[Result], b: Sequence[Result]) -> None:
    """Say what differs in the surroundings: it may be the cause."""
    sides = [[_surroundings(result.environment) for result in side] for side in (a, b)]
    for key in sides[0][0]:
        left, right = ({json.dumps(one[key]) for one in side} for side in sides)
        if left != right:
            remark(f"note: {key} differs: {', '.join(sorted(left))} / {', '.join(sorted(right))}")
    slots = [{r.totals.concurrency for r in side} for side in (a, b)]
    if slots[0] != slots[1]:
        remark(f"note: slots differ: {sorted(slots[0])} / {sorted(slots[1])}")


def _surroundings(env: Environment) -> dict[str, object]:
    return {
        "cpu": env.cpu,
        "cores": env.cores,
        "python": env.python,
        "server": env.server,
        "config_hash": env.config_hash,
        "git_commit": env.git_commit,
    }


def compare_results(
    figure: str, a: Sequence[Result], b: Sequence[Result], band: float
) -> Comparison:
    """Compare one figure of two sets of results; raises UsageError when one lacks it."""
    sides = []
    for side in (a, b):
        values = [figure_of(figure, result) for result in side]
        if any(value is None for value in values):
            raise UsageError(f"--figure {figure!r}: a run has too few samples to tell it")
        sides.append([float(value or 0.0) for value in values])
    higher = figure.split(".")[0] in HIGHER
    try:
        return compare(figure, *sides, higher_is_better=higher, band=band)
    except ValueError as error:
        raise UsageError(f"--figure {figure!r}: {error}") from None


def show(found: Sequence[Comparison], *, as_json: bool) -> int:
    """Print the answers; 3 when any is worse."""
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        for part in _render(found):
            report_console().print(part)
    return 3 if any(one.regression for one in found) else 0


def _render(found: Sequence[Comparison]) -> Iterator[RenderableType]:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("figure", "runs", "ratio", "95 % interval", "p", "answer"):
        table.add_column(name, justify="left" if name in ("figure", "answer") else "right")
    styles = {"worse": "bold red", "better": "green"}
    for one in found:
        table.add_row(
            one.figure,
            f"{len(one.a)} + {len(one.b)}",
            f"{one.ratio:.3f}",
            f"{one.low:.3f} to {one.high:.3f}",
            f"{one.p:.3g}",
            Text(one.answer, style=styles.get(one.answer, "")),
        )
    yield table
