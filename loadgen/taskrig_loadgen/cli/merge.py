"""Merge the results of several generators that ran at once (run --barrier) into one."""

from __future__ import annotations

import argparse
from pathlib import Path

from taskrig_loadgen.cli import output
from taskrig_loadgen.result.merging import merge, refuse_apart
from taskrig_loadgen.result.store import load

EXAMPLE = """loadgen run --mix noop=1 --rate 50 --duration 2s --barrier pair-$$:2 --out one.json &
  loadgen run --mix noop=1 --rate 50 --duration 2s --barrier pair-$$:2 --out two.json; wait
  loadgen merge one.json two.json --html both.html"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen merge`."""
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="RESULT.json",
        help="saved results, one of each generator",
    )
    output.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """`loadgen merge`: needs no Redis."""
    expectations = output.read_expectations(args)
    results = [load(path) for path in args.results]
    refuse_apart(results)
    return output.finish(merge(results), args, expectations)
