"""The consoles: the report goes to stdout, what is shown on the way to stderr."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from taskrig.texts import printable

PLAIN_WIDTH = 110  # of tables when there is no terminal to ask


class PlainConsole(Console):
    """Shows names and texts of others with nothing in them that steers a terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Called by rich for everything that is printed, and for each cell of a table."""
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or text.isprintable():
                yield segment
            else:
                yield Segment(printable(text, keep="\n"), segment.style)


class ReportConsole(PlainConsole):
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
    return PlainConsole(stderr=True, highlight=False)
