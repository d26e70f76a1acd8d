"""Writing what a run leaves: the report on stdout and the files asked for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from loadgen.cli.console import remark, report_console
from loadgen.report.terminal import render
from loadgen.result import Result, exit_code, save


def add_output(parser: argparse.ArgumentParser) -> None:
    """--out and --json."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result as JSON")
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON instead of the report"
    )


def finish(result: Result, args: argparse.Namespace) -> int:
    """Print the report, write the files, return the exit code."""
    if args.out:
        save(result, args.out)
        remark(f"result: {args.out}")
    if args.json:
        print(json.dumps(result, indent=1, allow_nan=False))
    else:
        console = report_console()
        for part in render(result):
            console.print(part)
    return exit_code(result)
