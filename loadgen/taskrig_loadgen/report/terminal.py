"""The report for a terminal: a result as rich renderables; printing is the cli's."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET, UnsetType
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from taskrig_loadgen.quantity import show_rate, show_s
from taskrig_loadgen.result.model import Judged, Outside, Result, Searched, Totals, TypeSeries
from taskrig_loadgen.result.verdict import checks

_PER_TYPE = ("wait", "service", "e2e")
_OVER_ALL = ("send_lag", "wait", "service", "e2e", "e2e_raw")
_COLUMNS = ("mean", "p50", "p90", "p99", "p99.9", "max")


def render(result: Result) -> Iterator[RenderableType]:
    """Headline, figures per type, accounting, verdict, expectations."""
    yield Text()
    yield _headline(result)
    yield latency_table(result)
    if result.failed_series:
        yield Text("the same of tasks that failed, in no figure above", style="bold")
        yield latency_table(result, result.failed_series)
    yield _accounting(result)
    yield from _outside(result.outside)
    yield from _verdict(result)
    yield from _expectations(result.expectations)
    yield from _searched(result.search)


def _headline(result: Result) -> Text:
    totals = result.totals
    parts = []
    if totals.makespan_s is not None:
        parts.append(f"makespan {show_s(totals.makespan_s)}")
    if result.kind == "drain":
        if totals.drained_per_s:
            rate = f"{show_rate(totals.drained_per_s)} on {totals.concurrency} slots"
            parts = [f"drained in {show_s(totals.drain_s)}", rate]
        return Text("  |  ".join(parts), style="bold")
    if result.workload.profile is None:
        parts += _against_ideal(totals)
    else:
        if totals.offered_per_s:
            parts.append(f"offered {show_rate(totals.offered_per_s)}")
        if totals.achieved_per_s:
            parts.append(f"sent {show_rate(totals.achieved_per_s)}")
    if totals.done_per_s:
        parts.append(f"done {show_rate(totals.done_per_s)}")
    return Text("  |  ".join(parts), style="bold")


def _against_ideal(totals: Totals) -> list[str]:
    parts = []
    if totals.serial_s:
        parts.append(f"serial {show_s(totals.serial_s)}")
    if totals.ideal_s and totals.makespan_s is not None:
        over = (totals.makespan_s / totals.ideal_s - 1) * 100
        basis = "" if totals.ideal_basis == "nominal" else ", from measured service times"
        slots = f"{totals.concurrency} slots"
        parts.append(f"ideal for {slots} {show_s(totals.ideal_s)} ({over:+.1f} %{basis})")
    return parts


def latency_table(result: Result, series: dict[str, TypeSeries] | None = None) -> Table:
    """Types by series; a percentile that the count cannot support is "< 10"."""
    series = result.series if series is None else series
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("type", no_wrap=True)
    table.add_column("series", no_wrap=True)
    for name in ("count", *_COLUMNS):
        table.add_column(name, justify="right", no_wrap=True)
    blocks = [name for name in series if name != "all"]
    for block in (*blocks, "all"):
        shown = _OVER_ALL if block == "all" else _PER_TYPE
        for number, name in enumerate(shown):
            figures = series[block].get(name)
            label = escape(_shorten(block)) if number == 0 else ""
            cells = (figures.text(column) for column in _COLUMNS)
            table.add_row(label, name, f"{figures.count:,}", *cells)
    return table


def _shorten(name: str) -> str:
    return name if len(name) <= 24 else name[:21] + "..."


def _accounting(result: Result) -> Text:
    """The parts of what was sent. A part of which nothing is known is left out, never 0."""
    books, always = result.accounting, ("succeeded", "failed", "lost")
    parts = [
        f"{count:,} {name.replace('_', ' ')}"
        for name, count in books.parts.items()
        if count or (name in always and not result.cannot_tell(name))
    ]
    line = f"accounting: {books.sent:,} sent = " + " + ".join(parts)
    extra = [
        f"{count:,} {text}"
        for count, text in (
            (books.duplicates, "run more than once"),
            (books.lost_claims, "ended without their claim"),
            (books.interrupted, "interrupted and run again"),
            (books.retried, "retries"),
            (books.refused, "refused by Redis"),
            (books.never_arrived, "pushes without an answer that never arrived"),
            (books.unsent, "due and never sent"),
        )
        if count
    ]
    bad = books.lost or books.duplicates or books.refused
    return Text(line + ("; " + ", ".join(extra) if extra else ""), style="red" if bad else "")


def _outside(seen: Outside | UnsetType) -> Iterator[RenderableType]:
    """What was learnt from outside, and what cannot be learnt that way."""
    if seen is UNSET:
        return
    told = "the queue was not empty at the end"
    if seen.emptied_s is not None:
        empty, wait = show_s(seen.emptied_s), show_s(seen.mean_wait_s)
        told = f"empty after {empty}, mean wait {wait} (Little)"
    yield Text(f"watched from outside: {told}", style="bold")
    for kind, figures in seen.types.items():
        parts = [
            f"{name.removesuffix('_s').replace('_', ' ')} {show_s(value)}"
            if name.endswith("_s")
            else f"{value:,.0f} {name}"
            for name, value in figures.items()
        ]
        yield Text(f"  {kind}: {', '.join(parts)}")
    if seen.note is not None:
        yield Text(f"nothing per type: {seen.note}", style="yellow")


def _verdict(result: Result) -> Iterator[Text]:
    for check in checks(result):
        style = "bold red" if check.code else "yellow"
        yield from (Text(problem, style=style) for problem in check.problems)


def _expectations(judged: list[Judged]) -> Iterator[Text]:
    for one in judged:
        word, style = ("ok  ", "green") if one.ok else ("FAIL", "bold red")
        yield Text(f"{word} {one.text}  (was {one.shown})", style=style)


def _searched(search: Searched | None) -> Iterator[Text]:
    if search is None:
        return
    answer = "none" if search.answer_per_s is None else show_rate(search.answer_per_s)
    yield Text(f"highest rate with {search.slo}: {answer}", style="bold")
    yield Text(search.why)
    if search.planned_per_s and search.answer_per_s:
        off = (search.answer_per_s / search.planned_per_s - 1) * 100
        told = f"plan predicts {show_rate(search.planned_per_s)} from the calibration"
        yield Text(f"{told} before the first trial: found {off:+.1f} % of it", style="dim")
