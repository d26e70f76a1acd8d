"""Standard input, output and error, also where a program is started without them (`>&-`)."""

from __future__ import annotations

import os
import sys


def fill_standard_files() -> None:
    """Open /dev/null in place of those that are closed.

    Else the next file or socket gets such a number: uvloop ends the process when it closes one, and
    what anybody prints would go to a connection.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, so this one
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - open as long as the process
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
