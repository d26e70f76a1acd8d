"""Reads the command line and runs one command; each is a module with `add` and `execute`."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence

from worker.cli import (
    check,
    config,
    dead,
    healthcheck,
    pause,
    queue,
    run,
    status,
    steer,
    version,
    web,
)
from worker.cli.parser import Parser, parse
from worker.errors import TaskrigError
from worker.standard_files import fill_standard_files

COMMANDS = (run, status, pause, steer, dead, queue, web, check, config, healthcheck, version)

DESCRIPTION = """\
Run plain JSON tasks from a Redis list, and lose none of them.

`worker` alone is `worker run`. Every command has its own --help with examples."""

EXAMPLES = """\
examples:
  worker                                  serve the queue with ./config.yaml or the defaults
  worker --max-concurrent 10              ... ten tasks at once
  worker status                           the queue, its workers, what runs and for how long
  worker dead list                        what failed, and why
  worker check                            validate the configuration, list the handlers
  worker config show --origin             every setting, and where it came from

exit codes: 0 done or drained, 1 failed, 2 wrong usage or configuration, 3 Redis out of reach"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    fill_standard_files()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may know fewer characters than types
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args = parse(build_parser(), arguments, default="run")
        code: int = args.execute(args)
        sys.stdout.flush()
        return code
    except SystemExit as end:  # --help and --version
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `worker config show | head`; nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TaskrigError as error:
        if debug:
            traceback.print_exc()
        complain(str(error))
        return error.exit_code
    except Exception as error:
        if debug:
            traceback.print_exc()
        complain(f"unforeseen {type(error).__name__}: {error}; --debug shows the traceback")
        return TaskrigError.exit_code


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="worker", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser


def complain(text: str) -> None:
    """Print an error on stderr, each of its lines by itself, without the password of any URL."""
    from worker.config.raw import without_password

    for line in without_password(text).splitlines() or ["failed"]:
        print(f"worker: {line}", file=sys.stderr)
