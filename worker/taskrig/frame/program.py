"""Runs one command of a program: what goes wrong becomes one line on stderr and an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence

from taskrig.errors import TaskrigError, UsageError
from taskrig.frame import output
from taskrig.runtime.outlet import unblock
from taskrig.runtime.shadows import hiding_file
from taskrig.runtime.standard_files import fill_standard_files

INTERRUPTED = 130  # by Ctrl-C


def run_program(
    name: str,
    execute: Callable[[list[str]], int],
    argv: Sequence[str] | None,
    *,
    codes: Mapping[int, int] | None = None,
) -> int:
    """Run `execute` with the arguments (sys.argv by default); returns the exit code.

    Args:
        name: of the program, before each line about an error.
        codes: exit codes of errors that are others in this program.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    fill_standard_files()
    unblock("stderr")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may know fewer characters than types
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = execute(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as end:  # --help and --version
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `worker config show | head`; nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        if isinstance(error, TaskrigError):
            output.error(name, str(error))
            return (codes or {}).get(error.exit_code, error.exit_code)
        if file := hiding_file(error):
            output.error(name, f"{file} hides a module of its name that {name} needs; rename it")
            return UsageError.exit_code
        unforeseen = f"unforeseen {type(error).__name__}: {error}"
        output.error(name, f"{unforeseen}; --debug shows the traceback")
        return TaskrigError.exit_code
