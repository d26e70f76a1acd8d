"""Reads the command line and runs one command; each is a module with `add` and `execute`."""

from __future__ import annotations

from collections.abc import Sequence

from taskrig.cli import (
    check,
    config,
    dead,
    healthcheck,
    pause,
    push,
    queue,
    run,
    status,
    steer,
    task,
    version,
    web,
)
from taskrig.frame.parser import Parser, parse
from taskrig.frame.program import run_program

COMMANDS = (
    *(run, status, push, task, pause, steer, dead, queue),
    *(web, check, config, healthcheck, version),
)

DESCRIPTION = """\
Run plain JSON tasks from a Redis list without losing any.

`worker` alone is `worker run`. Every command has its own --help with examples."""

EXAMPLES = """\
examples:
  worker                                  serve the queue with ./config.yaml or the defaults
  worker --max-concurrent 10              ... ten tasks at once
  worker status                           the queue, its workers, what runs and for how long
  worker task ID                          all that is known of one task
  worker dead list                        what failed, and why
  worker push email '{"to": "a@b.example"}'  one task from the shell
  worker check                            validate the configuration, list the handlers
  worker config show --origin             every setting, and where it came from

exit codes: 0 done or drained, 1 failed, 2 wrong usage or configuration, 3 Redis out of reach"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    return run_program("worker", execute, argv)


def execute(arguments: list[str]) -> int:
    """Run the command that the arguments name.

    Raises:
        TaskrigError: it is wrong, or what it does failed.
    """
    if arguments[:1] == ["--version"]:
        arguments = ["version", *arguments[1:]]
    args = parse(build_parser(), arguments, default="run")
    code: int = args.execute(args)
    return code


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="worker", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser
