"""The consoles: the report goes to stdout, what is shown on the way to stderr."""

from __future__ import annotations

from rich.console import Console

PLAIN_WIDTH = 110  # of tables when there is no terminal to ask


def report_console() -> Console:
    """The console of the report, stdout."""
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def live_console() -> Console:
    """The console of progress and remarks, stderr."""
    return Console(stderr=True, highlight=False)
