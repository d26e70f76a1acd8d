"""Where output goes: the report to stdout, everything said on the way to stderr."""

from __future__ import annotations

import sys

from rich.console import Console

from worker.config.raw import without_password

PLAIN_WIDTH = 110  # of tables when there is no terminal to ask


def report_console() -> Console:
    """The console of the report, stdout."""
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def live_console() -> Console:
    """The console of progress and remarks, stderr."""
    return Console(stderr=True, highlight=False)


def complain(text: str) -> None:
    """What is wrong, on stderr: a line for each problem; no password of any URL in it."""
    for line in without_password(text).splitlines() or [text]:
        print(f"loadgen: {' '.join(line.split())}", file=sys.stderr, flush=True)


def remark(text: str) -> None:
    """Something worth knowing, on stderr."""
    print(text, file=sys.stderr, flush=True)
