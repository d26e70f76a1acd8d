"""The consoles: the report goes to stdout, what is shown on the way to stderr."""

from __future__ import annotations

from rich.console import Console

PLAIN_WIDTH = 110  # of tables when there is no terminal to ask


class ReportConsole(Console):
    """Leaves it to the program what a reader that has gone means (`| head`): rich exits with 1."""

    def on_broken_pipe(self) -> None:
        """Called by rich in the place of the error."""
        raise BrokenPipeError


def report_console() -> Console:
    """The console of the report, stdout."""
    console = ReportConsole(highlight=False, soft_wrap=False)
    return console if console.is_terminal else ReportConsole(highlight=False, width=PLAIN_WIDTH)


def live_console() -> Console:
    """The console of progress and remarks, stderr."""
    return Console(stderr=True, highlight=False)
