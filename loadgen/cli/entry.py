"""Reads the command line, runs one command, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from loadgen.cli import (
    ab,
    add,
    chaos,
    clear,
    compare,
    drain,
    merge,
    mix,
    monitor,
    options,
    peers,
    plan,
    replay,
    report,
    run,
    schema,
    search,
    sweep,
)
from loadgen.cli.console import complain
from worker.errors import TaskrigError
from worker.standard_files import fill_standard_files

COMMANDS: dict[str, ModuleType] = {
    "run": run,
    "drain": drain,
    "sweep": sweep,
    "search": search,
    "plan": plan,
    "replay": replay,
    "merge": merge,
    "compare": compare,
    "ab": ab,
    "add": add,
    "clear": clear,
    "monitor": monitor,
    "chaos": chaos,
    "peers": peers,
    "report": report,
    "schema": schema,
}

EXITS = """exit codes:
  0 good   1 tasks lost or left over, or something unforeseen   2 usage or config
  3 regression (compare, ab)
  4 saturated: the generator could not offer what was asked   5 Redis out of reach
  99 an expectation failed   130 interrupted (the report is still written)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `loadgen` with these arguments (sys.argv by default); returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    fill_standard_files()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may know fewer characters than types
        sys.stdout.reconfigure(errors="backslashreplace")
    if arguments[:1] == ["compare"]:  # argparse would drop the -- between the two sides
        arguments = ["--new" if text == "--" else text for text in arguments]
    try:
        parser = _parser(arguments)
        args = parser.parse_args(arguments)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except TaskrigError as error:
        if debug:
            traceback.print_exc()
        complain(str(error))
        # Redis out of reach is 3 for a worker and 5 here, whoever noticed it.
        return 5 if error.exit_code == 3 else error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `loadgen ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:  # argparse: --help, or a usage error it has reported
        return stop.code if isinstance(stop.code, int) else 2
    except Exception as error:
        if debug:
            traceback.print_exc()
        complain(f"unforeseen {type(error).__name__}: {error}; --debug shows the traceback")
        return TaskrigError.exit_code


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and point to the help."""

    def error(self, message: str) -> None:  # type: ignore[override]
        if re.fullmatch(r"unrecognized arguments:(?: ,?\S+=[0-9]+,?)+", message):
            message += "; write the mix without spaces, like --mix fast=3,slow=2"
        complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(2)


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    wants_command = bool(arguments) and not arguments[0].startswith("-")
    if not wants_command and arguments[:1] not in (["-h"], ["--help"], ["--version"], []):
        parser = Parser(prog="loadgen", allow_abbrev=False)
        mix.configure(parser)
        options.add_common(parser)
        parser.set_defaults(run=mix.run)
        misplaced = next((text for text in arguments if text in COMMANDS), None)
        if misplaced and "--mix" not in arguments:
            parser.error(f"put the command first: loadgen {misplaced} ...")
        return parser
    parser = Parser(
        prog="loadgen",
        description="Put tasks on a queue, follow each one to its end, and report.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=mix.EPILOG + "\n" + EXITS,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"loadgen {_version()}")
    mix.configure(parser, required=False)
    options.add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").strip().splitlines()[0]
        one = commands.add_parser(
            name, help=summary, description=summary, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=f"example:\n  {module.EXAMPLE}\n",
        )  # fmt: skip
        module.configure(one)
        options.add_common(one)
        one.set_defaults(run=module.run)
    return parser


def _version() -> str:
    try:
        return version("taskrig")
    except PackageNotFoundError:
        return "(not installed)"
