"""Make reports of a saved result: terminal, HTML, CSV, JUnit, Markdown."""

from __future__ import annotations

import argparse
from pathlib import Path

from taskrig_loadgen.analysis.expectations import judge_all, parse_expectation
from taskrig_loadgen.cli import output
from taskrig_loadgen.result.store import load

EXAMPLE = "loadgen report run.json --html run.html --expect 'e2e.mean < 3s'"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen report`."""
    parser.add_argument(
        "result", type=Path, metavar="RESULT.json", help="saved result (see loadgen run --out)"
    )
    group = parser.add_argument_group("what it makes")
    output.add_reports(group)
    group.add_argument(
        "--expect",
        action="extend",
        nargs="+",
        default=[],
        metavar="EXPR",
        help="conditions to judge by, instead of those of the run",
    )
    group.add_argument("--json", action="store_true", help="print the judged result as JSON")


def run(args: argparse.Namespace) -> int:
    """`loadgen report`: needs no Redis."""
    output.check_targets(args)
    expectations = [parse_expectation(text) for text in args.expect]
    result = load(args.result)
    if expectations:
        judge_all(expectations, result)
    return output.deliver(result, args)
