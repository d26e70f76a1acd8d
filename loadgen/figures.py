"""From a ledger to figures: the five series of each type, and what happened in each second.

Pure. Latencies count from the intended time of a task; `e2e_raw`, from the actual send, stands
beside them. A value at or below 0 (two clocks disagree) is kept, and counted.
"""

from __future__ import annotations

import heapq
import math
from array import array
from dataclasses import dataclass
from typing import Any

from loadgen.ledger import OPEN, REFUSED, Ledger
from loadgen.mix import ALL
from loadgen.stats import percentile, summary

SERIES = ("send_lag", "wait", "service", "e2e", "e2e_raw")


class Samples:
    """The five series of one type, in seconds."""

    def __init__(self) -> None:
        self.values: dict[str, array[float]] = {name: array("d") for name in SERIES}
        self.anomalies = 0

    def add_send(self, lag: float) -> None:
        """One pushed task."""
        self.values["send_lag"].append(lag)

    def add_done(self, wait: float, service: float, e2e: float, e2e_raw: float) -> None:
        """One finished task."""
        values = self.values
        values["wait"].append(wait)
        values["service"].append(service)
        values["e2e"].append(e2e)
        values["e2e_raw"].append(e2e_raw)
        if wait <= 0 or service <= 0 or e2e <= 0:
            self.anomalies += 1


def collect(ledger: Ledger, *, since: float = -math.inf) -> dict[str, Samples]:
    """Samples by type, and of all types under `all`; tasks intended before `since` are left out.

    A task counts towards `send_lag` when Redis confirmed it, towards the others when its
    execution is known from a completion record.
    """
    by_kind = [Samples() for _ in ledger.types]
    columns = zip(
        ledger.kind, ledger.intended, ledger.sent, ledger.acked, ledger.start, ledger.end,
        ledger.settled, ledger.outcome, strict=True,
    )  # fmt: skip
    for kind, intended, sent, acked, start, end, settled, outcome in columns:
        if intended < since or outcome == REFUSED:
            continue
        samples = by_kind[kind]
        if acked == acked:
            samples.add_send(acked - intended)
        if outcome != OPEN and start == start:
            samples.add_done(start - intended, end - start, settled - intended, settled - sent)
    return {ALL: merged(by_kind), **dict(zip(ledger.types, by_kind, strict=True))}


def merged(parts: list[Samples]) -> Samples:
    """All samples of all parts together."""
    whole = Samples()
    for part in parts:
        whole.anomalies += part.anomalies
        for name in SERIES:
            whole.values[name].extend(part.values[name])
    return whole


def series(samples: dict[str, Samples]) -> dict[str, Any]:
    """type -> series -> summary, with a mergeable histogram where there are samples."""
    from loadgen.histogram import encode

    figures: dict[str, Any] = {}
    for name, part in samples.items():
        figures[name] = {}
        for kind, values in part.values.items():
            figures[name][kind] = summary(values)
            if values:
                figures[name][kind]["hdr"] = encode(values)
    return figures


@dataclass(frozen=True, slots=True)
class SlotCosts:
    """What a task costs besides its handler, in seconds; None where it was never seen."""

    turnaround_s: float | None = None  # from the end of a handler to the next start on its slot
    pickup_s: float | None = None  # from the queue to the start on a free slot
    lag_s: float | None = None  # from the intended time to the queue


def slot_costs(ledger: Ledger, slots: int) -> SlotCosts:
    """Follow the slots through a run.

    A task that was in the queue before its slot became free shows what the worker needs to settle
    one task and start the next; one that found a slot free shows how long a push needs to reach a
    handler. Starts later than 100 ms are neither (a stalled machine, a paused queue).
    """
    tasks = sorted(
        (start, end, intended, acked)
        for start, end, intended, acked in zip(
            ledger.start, ledger.end, ledger.intended, ledger.acked, strict=True
        )
        if start == start and acked == acked
    )
    lags = array("d", (acked - intended for _, _, intended, acked in tasks))
    free = [-math.inf] * slots
    turnarounds, pickups = array("d"), array("d")
    for start, end, intended, acked in tasks if slots else ():
        freed = heapq.heapreplace(free, end)
        if acked < freed <= start < freed + _LATE_S:
            turnarounds.append(start - freed)
        elif freed < intended <= start < intended + _LATE_S:
            pickups.append(start - intended)
    lag, pickup = _usual(lags), _usual(pickups)
    if lag is not None and pickup is not None:
        pickup = max(0.0, pickup - lag)  # the way to the queue is no doing of the worker
    return SlotCosts(_usual(turnarounds), pickup, lag)


_LATE_S = 0.1
_PAUSE = 10  # times the median: longer is a pause of the machine


def _usual(values: array[float]) -> float | None:
    """The mean, but for what is far beyond the median; None of none.

    Not the median: slots are taken for as long as they are, and at 90 % load a tenth of a
    millisecond more of ten makes waits a tenth longer. Not the mean of all: a machine that pauses
    for 50 ms now and then is no property of a slot.
    """
    if not values:
        return None
    most = _PAUSE * percentile(sorted(values), 0.5)
    kept = [value for value in values if value <= most]
    return math.fsum(kept) / len(kept)


def flat_out_per_s(ledger: Ledger, slots: int) -> float | None:
    """Tasks started a second while others waited, of tasks pushed at once; None of too few.

    The first task of each slot had no other to wait for, and after the last start there is
    nothing left to start: neither the run-up nor the tail is counted.
    """
    starts = sorted(t for t in ledger.start if t == t)
    if len(starts) <= slots or starts[-1] <= starts[0]:
        return None
    return (len(starts) - slots) / (starts[-1] - starts[0])


def due_and_started(ledger: Ledger, since: float, until: float) -> tuple[int, int]:
    """Tasks due, and tasks started, between two moments of the server's clock."""
    due = sum(1 for t in ledger.intended if since <= t < until)
    return due, sum(1 for t in ledger.start if since <= t < until)


def timeline(ledger: Ledger, views: list[Any], start: float, unsent: int = 0) -> list[Any]:
    """One row for each second from `start`, the beginning of the schedule.

    Args:
        views: looks at the queue (`QueueView`), in order.
        unsent: tasks that were due in the end and never booked.
    """
    if not len(ledger):
        return []
    ends = [t for t in (max(ledger.sent), _latest(ledger.settled)) if t == t]
    rows = [_row(second) for second in range(int(max(ends) - start) + 1)]
    last = len(rows) - 1
    for intended, sent, outcome in zip(ledger.intended, ledger.sent, ledger.outcome, strict=True):
        rows[min(max(int(intended - start), 0), last)]["offered"] += 1
        if outcome != REFUSED:
            rows[min(max(int(sent - start), 0), last)]["sent"] += 1
    rows[last]["offered"] += unsent
    e2e: list[list[float]] = [[] for _ in rows]
    wait: list[list[float]] = [[] for _ in rows]
    busy = [0.0] * len(rows)
    for intended, begun, end, settled in zip(
        ledger.intended, ledger.start, ledger.end, ledger.settled, strict=True
    ):
        if settled != settled:
            continue
        second = min(max(int(settled - start), 0), last)
        rows[second]["done"] += 1
        e2e[second].append(settled - intended)
        wait[second].append(begun - intended)
        _spread(busy, begun - start, end - start)
    for row, slow, waited, used in zip(rows, e2e, wait, busy, strict=True):
        row["busy_slots"] = round(used, 3)
        _percentiles(row, "e2e", slow)
        _percentiles(row, "wait", waited)
    _depths(rows, views, start)
    return rows


def _latest(times: array[float]) -> float:
    return max((t for t in times if t == t), default=math.nan)


def _row(second: int) -> dict[str, Any]:
    return {"second": second, "offered": 0, "sent": 0, "done": 0}


def _spread(busy: list[float], begun: float, end: float) -> None:
    """Add an execution's seconds to each second it ran in."""
    second = max(int(begun), 0)
    while begun < end and second < len(busy):
        part = min(end, second + 1.0) - begun
        busy[second] += max(part, 0.0)
        begun, second = second + 1.0, second + 1


def _percentiles(row: dict[str, Any], name: str, values: list[float]) -> None:
    ordered = sorted(values)
    for label, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        row[f"{name}_{label}"] = round(percentile(ordered, share), 6) if ordered else None


def _depths(rows: list[dict[str, Any]], views: list[Any], start: float) -> None:
    """The last look in each second; a second without one repeats the one before."""
    by_second: dict[int, Any] = {}
    for view in views:
        by_second[max(int(view.at - start), 0)] = view
    last = None
    for row in rows:
        last = by_second.get(row["second"], last)
        row["waiting"] = last.waiting if last else None
        row["in_flight"] = last.in_flight if last else None
        row["concurrency"] = last.concurrency if last else None
