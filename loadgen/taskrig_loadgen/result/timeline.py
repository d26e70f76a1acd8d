"""What happened in each second of a run. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from taskrig_loadgen.maths.stats import percentile
from taskrig_loadgen.queueview import QueueView
from taskrig_loadgen.result.ledger import REFUSED, Ledger
from taskrig_loadgen.result.model import TimelineRow


def timeline(
    ledger: Ledger, views: Sequence[QueueView], start: float, unsent: int = 0
) -> list[TimelineRow]:
    """One row for each second from `start`, the beginning of the schedule.

    Args:
        views: looks at the queue, in order.
        unsent: tasks that were due in the end and never booked.
    """
    if not len(ledger):
        return []
    ends = [t for t in (max(ledger.sent), _latest(ledger.settled)) if t == t]
    rows = [_row(second) for second in range(int(max(ends) - start) + 1)]
    _count_sent(rows, ledger, start)
    rows[-1].offered += unsent
    _count_done(rows, ledger, start)
    _add_depths(rows, views, start)
    return rows


def _row(second: int) -> TimelineRow:
    depths = {"waiting": None, "in_flight": None, "concurrency": None}
    return TimelineRow(second=second, offered=0, sent=0, done=0, busy_slots=0.0, **depths)


def _latest(times: array[float]) -> float:
    return max((t for t in times if t == t), default=math.nan)


def _count_sent(rows: list[TimelineRow], ledger: Ledger, start: float) -> None:
    last = len(rows) - 1
    for intended, sent, outcome in zip(ledger.intended, ledger.sent, ledger.outcome, strict=True):
        rows[min(max(int(intended - start), 0), last)].offered += 1
        if outcome != REFUSED:
            rows[min(max(int(sent - start), 0), last)].sent += 1


def _count_done(rows: list[TimelineRow], ledger: Ledger, start: float) -> None:
    last = len(rows) - 1
    e2e: list[list[float]] = [[] for _ in rows]
    wait: list[list[float]] = [[] for _ in rows]
    busy = [0.0] * len(rows)
    for intended, begun, end, settled in zip(
        ledger.intended, ledger.start, ledger.end, ledger.settled, strict=True
    ):
        if settled != settled:
            continue
        second = min(max(int(settled - start), 0), last)
        rows[second].done += 1
        e2e[second].append(settled - intended)
        wait[second].append(begun - intended)
        _spread(busy, begun - start, end - start)
    for row, slow, waited, used in zip(rows, e2e, wait, busy, strict=True):
        row.busy_slots = round(used, 3)
        row.e2e_p50, row.e2e_p90, row.e2e_p99, row.e2e_max = _percentiles(slow)
        row.wait_p50, row.wait_p90, row.wait_p99, row.wait_max = _percentiles(waited)


def _spread(busy: list[float], begun: float, end: float) -> None:
    """Add an execution's seconds to each second it ran in."""
    second = max(int(begun), 0)
    while begun < end and second < len(busy):
        part = min(end, second + 1.0) - begun
        busy[second] += max(part, 0.0)
        begun, second = second + 1.0, second + 1


def _percentiles(values: list[float]) -> tuple[float | None, ...]:
    """p50, p90, p99 and the largest."""
    ordered = sorted(values)
    return tuple(
        round(percentile(ordered, share), 6) if ordered else None for share in (0.5, 0.9, 0.99, 1.0)
    )


def _add_depths(rows: list[TimelineRow], views: Sequence[QueueView], start: float) -> None:
    """The last look in each second; a second without one repeats the one before."""
    by_second = {max(int(view.at - start), 0): view for view in views}
    last = None
    for row in rows:
        last = by_second.get(row.second, last)
        if last:
            row.waiting, row.in_flight = last.waiting, last.in_flight
            row.concurrency = last.concurrency
