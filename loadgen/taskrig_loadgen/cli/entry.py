"""Reads the command line and runs one command; each is a module with `configure` and `run`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from taskrig.errors import BrokerUnavailable
from taskrig.frame.output import be_quiet
from taskrig.frame.parser import Parser, finish, parse
from taskrig.frame.program import run_program
from taskrig_loadgen.cli import (
    ab,
    add,
    chaos,
    clear,
    compare,
    drain,
    merge,
    mix,
    monitor,
    plan,
    replay,
    report,
    run,
    schema,
    search,
    sweep,
)

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
    "report": report,
    "schema": schema,
}

EXITS = """exit codes:
  0 good   2 usage or config   3 regression (compare, ab)
  1 tasks lost, left over or refused, over 1 % did not succeed, or something unforeseen
  4 saturated: the generator could not offer what was asked; or a clock was set
  5 Redis out of reach   99 an expectation failed, or search found no rate
  130 interrupted (the report is still written)
"""


BARE = ""  # the command of `loadgen --mix ...`, which has no name


def main(argv: Sequence[str] | None = None) -> int:
    """Run `loadgen` with these arguments (sys.argv by default); returns the exit code."""
    # Redis out of reach is 3 for a worker and 5 here, whoever noticed it.
    return run_program("loadgen", execute, argv, codes={BrokerUnavailable.exit_code: 5})


def execute(arguments: list[str]) -> int:
    """Run the command that the arguments name; without any, show the help.

    Raises:
        TaskrigError: it is wrong, or what it does failed.
    """
    args = read(arguments or ["--help"])
    be_quiet(args.quiet)
    code: int = args.execute(args)
    return code


def read(arguments: list[str]) -> argparse.Namespace:
    """The parsed arguments; raises UsageError."""
    if arguments[:1] == ["compare"]:  # argparse would drop the -- between the two sides
        arguments = ["--new" if text == "--" else text for text in arguments]
    return parse(build_parser(), arguments, default=BARE, advice=_advice)


def _advice(unknown: Sequence[str]) -> str:
    if all(re.fullmatch(r",?[^\s-]\S*=[0-9]+,?", text) for text in unknown):
        return "; write the mix without spaces, like --mix fast=3,slow=2"
    return ""


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="loadgen",
        description="Put tasks on a queue, follow each one to its end, and report.",
        epilog=mix.EPILOG + "\n" + EXITS,
    )
    parser.add_argument("--version", action="version", version=f"loadgen {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for one in (parser, commands.add_parser(BARE, prog="loadgen")):
        mix.configure(one)
        _finish(one, mix.run)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").strip().splitlines()[0]
        one = commands.add_parser(
            name, help=summary, description=summary, epilog=f"example:\n  {module.EXAMPLE}\n"
        )
        module.configure(one)
        _finish(one, module.run)
    return parser


def _finish(parser: Parser, run: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="print only the report and errors, neither progress nor remarks",
    )
    finish(parser, run)


def _version() -> str:
    try:
        return version("taskrig")
    except PackageNotFoundError:
        return "(not installed)"
