"""Compare saved results: at least five runs a side, the run is the unit."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.analysis.comparison import (
    MIN_RUNS,
    Comparison,
    compare,
    compare_outcomes,
    not_judged,
)
from taskrig_loadgen.analysis.expectations import figure_of
from taskrig_loadgen.cli import options, output
from taskrig_loadgen.cli.console import report_console
from taskrig_loadgen.report import comparison as report
from taskrig_loadgen.result.model import Environment, Result
from taskrig_loadgen.result.store import load
from taskrig_loadgen.result.verdict import not_comparable

EXAMPLE = "loadgen compare base-*.json -- new-*.json --figure e2e.p50"
DEFAULT_FIGURES = ("e2e.p50", "service.p50")
HIGHER = ("throughput", "achieved", "offered", "efficiency", "succeeded")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen compare`."""
    parser.add_argument(
        "results",
        nargs="*",
        type=Path,
        metavar="RESULT.json",
        help="saved results: the base ones, then --, then the new ones",
    )
    parser.add_argument(
        "--base", nargs="+", type=Path, default=[], metavar="FILE", help="saved results of the base"
    )
    parser.add_argument(
        "--new",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="saved results to compare with it",
    )
    add_judgement(parser)


def add_judgement(parser: argparse.ArgumentParser) -> None:
    """--figure, --band and --json."""
    parser.add_argument(
        "--figure",
        nargs="+",
        action="extend",
        default=[],
        metavar="F",
        help="figures to compare, such as e2e.p99, wait{type=T}.mean, makespan or throughput",
    )
    parser.add_argument(
        "--band",
        default="3%",
        metavar="P",
        help="differences up to this count as noise (default 3%%)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    output.add_texts(parser)


def run(args: argparse.Namespace) -> int:
    """`loadgen compare`: 3 when the new runs are worse in any figure."""
    output.check_targets(args)
    base, new = _sides(args)
    band = options.percent(args.band, "--band")
    sides = [[load(path) for path in paths] for paths in (base, new)]
    refuse_unlike(sides[0] + sides[1], base + new)
    remark_environment(sides[0], sides[1])
    refuse_untrusted(sides[0] + sides[1], base + new)
    figures = args.figure or list(default_figures(sides[0][0]))
    return show(compare_results(figures, sides[0], sides[1], band), args)


def default_figures(result: Result) -> Sequence[str]:
    """The figures that a workload is usually judged by."""
    return DEFAULT_FIGURES if result.workload.profile else ("makespan", "service.mean")


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


def refuse_untrusted(results: Sequence[Result], names: Sequence[Path]) -> None:
    """Raises UsageError for runs that an outage has spoilt, or a clock that was set."""
    for result, name in zip(results, names, strict=True):
        why = not_comparable(result)
        if why:
            raise UsageError(f"{name}: {why}; such a run is not compared")
        if result.failed_series is None and result.accounting.bad:
            raise UsageError(
                f"{name}: an earlier loadgen, whose latencies are of failed tasks too, has saved "
                "it; measure again"
            )


def compare_results(
    figures: Sequence[str], a: Sequence[Result], b: Sequence[Result], band: float
) -> list[Comparison]:
    """Compare outcomes, then figures of two sets of results; raises UsageError."""
    values = {
        figure: [[figure_of(figure, result) for result in side] for side in (a, b)]
        for figure in figures
    }
    shares = [[result.failed_share for result in side] for side in (a, b)]
    return judge(values, shares, band)


def judge(
    values: Mapping[str, Sequence[Sequence[float | None]]],
    shares: Sequence[Sequence[float]],
    band: float,
    *,
    higher: Sequence[str] = HIGHER,
) -> list[Comparison]:
    """Compare the outcomes. If they are not worse, compare every figure.

    Args:
        values: of each figure, those of the base and of the new runs.
        shares: of tasks that did not succeed, of the base and of the new runs.
        higher: names of figures of which more is better.

    Raises:
        UsageError: a run has too few samples to tell a figure, though no more tasks fail.
    """
    outcomes = compare_outcomes(*shares)
    found = [outcomes] if any(map(any, shares)) else []
    for figure, sides in values.items():
        known = [[value for value in side if value is not None] for side in sides]
        lacking = sum(map(len, known)) < sum(map(len, sides))
        if outcomes.regression or (lacking and outcomes.answer == "better"):
            found.append(not_judged(figure))
            continue
        if lacking:
            raise UsageError(f"--figure {figure!r}: a run has too few samples to tell it")
        better = figure.split(".")[0] in higher
        try:
            found.append(compare(figure, *known, higher_is_better=better, band=band))
        except ValueError as error:
            raise UsageError(f"--figure {figure!r}: {error}") from None
    return found


def show(found: Sequence[Comparison], args: argparse.Namespace) -> int:
    """Print the answers and write the files that the flags name; 3 when any is worse."""

    def say() -> None:
        if args.json:
            print(json.dumps([asdict(one) for one in found], indent=1))
            return
        for part in report.render(found):
            report_console().print(part)

    output.leave(output.texts(args, {"html": report.page, "markdown": report.summary}, found), say)
    return 3 if any(one.regression for one in found) else 0
