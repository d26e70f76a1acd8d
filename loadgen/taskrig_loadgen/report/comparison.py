"""What comparing two sets of runs has found: terminal, HTML and Markdown. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from taskrig_loadgen.analysis.comparison import Comparison
from taskrig_loadgen.report import markdown
from taskrig_loadgen.report.page import frame, notice, section, table

HEAD = ["figure", "answer", "runs", "ratio", "95 % interval", "p"]
_STYLES = {"worse": "bold red", "better": "green"}
_NOTE = (
    "The run is the unit. Better and worse need a difference that chance makes once in a hundred, "
    "and a ratio of medians outside the noise band. No difference shown is not: no difference."
)


def verdict(found: Sequence[Comparison]) -> str:
    """The answer to all figures in a sentence."""
    worse = [one.figure for one in found if one.regression]
    return f"worse: {', '.join(worse)}" if worse else "nothing is worse"


def _cells(one: Comparison) -> list[str]:
    return [
        one.figure,
        one.answer,
        f"{len(one.a)} + {len(one.b)}" if one.a else "",
        "" if one.ratio is None else f"{one.ratio:.3f}",
        _interval(one),
        "" if one.p is None else f"{one.p:.3g}",
    ]


def _interval(one: Comparison) -> str:
    """Of the ratio; without one the medians themselves."""
    if one.low is not None and one.high is not None:
        return f"{one.low:.3f} to {one.high:.3f}"
    if not one.a:
        return ""
    return f"medians {statistics.median(one.a):.3g}, {statistics.median(one.b):.3g}"


def render(found: Sequence[Comparison]) -> Iterator[RenderableType]:
    """The table for a terminal."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(HEAD):
        grid.add_column(name, justify="left" if number < 2 else "right")
    for one in found:
        figure, answer, *rest = _cells(one)
        grid.add_row(Text(figure), Text(answer, style=_STYLES.get(answer, "")), *rest)
    yield grid


def page(found: Sequence[Comparison]) -> str:
    """One self-contained page."""
    rows = [_cells(one) for one in found]
    for cells in rows:
        mark = {"worse": "+no ", "better": "+ok "}.get(cells[1], "")
        cells[1] = mark + cells[1]
    is_worse = any(one.regression for one in found)
    body = [
        "<h1>loadgen compare</h1>",
        notice(verdict(found), "" if is_worse else "good"),
        section("Figures", table(HEAD, rows, texts=2), note=_NOTE),
    ]
    return frame("loadgen compare", "\n".join(body))


def summary(found: Sequence[Comparison]) -> str:
    """A short summary for a CI."""
    is_worse = any(one.regression for one in found)
    mark = "**FAIL**: " if is_worse else ""
    rows = markdown.table(HEAD, map(_cells, found), texts=2)
    return f"### loadgen compare\n\n{mark}{markdown.cell(verdict(found))}\n\n{rows}"
