"""Run two commands in turn (A B B A ...), and say whether B is better, worse or neither."""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from taskrig.errors import TaskrigError, UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.analysis.comparison import MIN_RUNS
from taskrig_loadgen.analysis.expectations import figure_of
from taskrig_loadgen.cli import compare as judge
from taskrig_loadgen.cli import options, output
from taskrig_loadgen.result.model import FORMAT, Result
from taskrig_loadgen.result.store import parse
from taskrig_loadgen.result.verdict import not_comparable

EXAMPLE = "loadgen ab --a 'sleep 0.01' --b 'sleep 0.02' --runs 5 || echo B is slower"


BROKEN = (2, 126, 127, 130)  # exit codes of a wrong command line, or of Ctrl-C: no release did that


class CommandFailed(TaskrigError):
    """A command of --a or --b failed, or printed no figure."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen ab`."""
    parser.add_argument("--a", required=True, metavar="CMD", help="shell command A, the base")
    parser.add_argument(
        "--b", required=True, metavar="CMD", help="shell command B, which is compared with A"
    )
    parser.add_argument(
        "--runs",
        default="12",
        metavar="N",
        help="number of runs of each command (default 12, at least 5)",
    )
    parser.add_argument(
        "--higher-is-better", action="store_true", help="higher is better, for --figure stdout"
    )
    judge.add_judgement(parser)
    parser.epilog = (
        "figures: wall (seconds the command takes, the default), stdout (the last line it prints\n"
        "is a number), or one of a result when it prints that (loadgen ... --json): e2e.p50\n\n"
        + (parser.epilog or "")
    )


def run(args: argparse.Namespace) -> int:
    """`loadgen ab`: 3 when B is worse."""
    output.check_targets(args)
    runs = options.whole(args.runs, "--runs")
    band = options.percent(args.band, "--band")
    if runs < MIN_RUNS:
        raise UsageError(f"--runs must be at least {MIN_RUNS}, got {runs}")
    figures = args.figure or ["wall"]
    if args.higher_is_better and "stdout" not in figures:
        raise UsageError("--higher-is-better is for --figure stdout; of others it is known")
    commands = {"a": args.a, "b": args.b}
    took: dict[str, list[Measured]] = {"a": [], "b": []}
    for number, side in enumerate(order(runs), start=1):
        remark(f"{number}/{2 * runs}: {side.upper()}")
        took[side].append(_measure(commands[side], figures, may_fail=side == "b"))
    sides = (took["a"], took["b"])
    values = {
        figure: [[one.figures[figure] for one in side] for side in sides] for figure in figures
    }
    shares = [[one.failed_share for one in side] for side in sides]
    higher = [f for f in figures if is_higher_better(f, of_stdout=args.higher_is_better)]
    found = judge.judge(values, shares, band, higher=[f.split(".")[0] for f in higher])
    return judge.show(found, args)


def is_higher_better(figure: str, *, of_stdout: bool) -> bool:
    """Whether more of a figure is better; of the one on stdout only the user knows."""
    return of_stdout if figure == "stdout" else figure.split(".")[0] in judge.HIGHER


def order(runs: int) -> Iterator[str]:
    """A B B A A B B A ...: a drift of the machine falls on both sides alike."""
    for pair in range(runs):
        yield from ("a", "b") if pair % 2 == 0 else ("b", "a")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of a command has shown; a figure is None where it failed."""

    figures: dict[str, float | None]
    failed_share: float


def _measure(command: str, figures: list[str], *, may_fail: bool) -> Measured:
    """Run it once. A result that it prints says how many tasks failed, else its exit code does.

    Raises:
        CommandFailed: the base has failed, or a command that no shell finds or understands.
    """
    before = time.perf_counter()
    done = subprocess.run(
        ["/bin/sh", "-c", command], stdout=subprocess.PIPE, encoding="utf-8", errors="replace"
    )
    wall_s = time.perf_counter() - before
    result = _result(done.stdout, command)
    if result is not None and not_comparable(result):
        raise CommandFailed(f"{not_comparable(result)}; from: {command}")
    if result is None and done.returncode:
        if not may_fail or done.returncode in BROKEN or done.returncode < 0:
            raise CommandFailed(f"{_ended(done.returncode)}: {command}")
        return Measured(dict.fromkeys(figures), 1.0)
    found = {figure: _figure(figure, done.stdout, result, wall_s, command) for figure in figures}
    return Measured(found, result.failed_share if result else 0.0)


def _ended(code: int) -> str:
    """How a command ended that failed."""
    if code >= 0:
        return f"exit {code} from"
    with contextlib.suppress(ValueError):
        return f"{signal.Signals(-code).name} ended"
    return f"signal {-code} ended"


def _result(out: str, command: str) -> Result | None:
    """The result that a command has printed, if it has printed one.

    Raises:
        CommandFailed: it has, and it cannot be read: of another version, or not whole.
    """
    if not out.lstrip().startswith("{") or f'"format": "{FORMAT}"' not in out:
        return None
    try:
        return parse(out, "what it printed")
    except UsageError as error:
        raise CommandFailed(f"{error}; from: {command}") from None


def _figure(
    figure: str, out: str, result: Result | None, wall_s: float, command: str
) -> float | None:
    if figure == "wall":
        return wall_s
    if figure == "stdout":
        lines = out.split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        try:
            value = float(last)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise CommandFailed(
                f"the last line is not a number: {last[:60]!r}; printed by: {command}"
            )
        return value
    if result is None:
        raise CommandFailed(f"printed no result (add --json?): {command}")
    found = figure_of(figure, result)
    if found is None and not result.failed_share:
        raise CommandFailed(f"too few samples to tell {figure} from: {command}")
    return found
