"""What happened in each second of a run. Pure."""

from __future__ import annotations

import math
from array import array

from taskrig_loadgen.maths.stats import percentile, supported
from taskrig_loadgen.result.ledger import REFUSED, SUCCEEDED, Ledger
from taskrig_loadgen.result.model import TimelineRow
from taskrig_loadgen.result.record import RunRecord


def timeline(record: RunRecord, unsent: int = 0) -> list[TimelineRow]:
    """One row for each second from the beginning of the schedule.

    Args:
        unsent: tasks that were due in the end and never booked.
    """
    ledger, start = record.ledger, record.started
    if not len(ledger):
        return []
    ends = [t for t in (max(ledger.sent), _latest(ledger.settled)) if t == t]
    rows = [_row(second) for second in range(int(max(ends) - start) + 1)]
    _count_sent(rows, ledger, start)
    rows[-1].offered += unsent
    _count_done(rows, ledger, start)
    _add_depths(rows, record)
    return rows


def _row(second: int) -> TimelineRow:
    return TimelineRow(
        second=second,
        offered=0,
        sent=0,
        done=0,
        busy_slots=0.0,
        waiting=None,
        in_flight=None,
        concurrency=None,
    )


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
    for intended, begun, end, settled, outcome in zip(
        ledger.intended, ledger.start, ledger.end, ledger.settled, ledger.outcome, strict=True
    ):
        if settled != settled:
            continue
        second = min(max(int(settled - start), 0), last)
        _spread(busy, begun - start, end - start)
        if outcome != SUCCEEDED:
            rows[second].failed += 1
            continue
        rows[second].done += 1
        e2e[second].append(settled - intended)
        wait[second].append(begun - intended)
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
    """p50, p90 and p99 where enough samples lie beyond them, and the largest."""
    if not values:
        return None, None, None, None
    ordered, count = sorted(values), len(values)
    known = (
        round(percentile(ordered, share), 6) if supported(count, share) else None
        for share in (0.5, 0.9, 0.99)
    )
    return *known, round(ordered[-1], 6)


def _add_depths(rows: list[TimelineRow], record: RunRecord) -> None:
    """The last look in each second; a second without one repeats the one before.

    Not while Redis was away: then the depths are not known.
    """
    by_second = {max(int(view.at - record.started), 0): view for view in record.views}
    last = None
    for row in rows:
        if any(one.at_s < row.second + 1 and row.second < one.end_s for one in record.away):
            last = None
        last = by_second.get(row.second, last)
        if last:
            row.waiting, row.in_flight = last.waiting, last.in_flight
            row.concurrency = last.concurrency
