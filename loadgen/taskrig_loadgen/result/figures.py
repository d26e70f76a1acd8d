"""From a ledger to figures: the five series of each type, and what a task costs its slot. Pure.

Latencies count from the intended time of a task; `e2e_raw`, from the actual send, stands
beside them. A value at or below 0 (two clocks disagree) is kept, and counted.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from taskrig_loadgen.load.mix import ALL
from taskrig_loadgen.maths.stats import PERCENTILES, percentile, supported
from taskrig_loadgen.queueview import QueueView
from taskrig_loadgen.result.ledger import OPEN, REFUSED, SUCCEEDED, Ledger
from taskrig_loadgen.result.model import Figures, TypeSeries


class Samples:
    """The five series of one type, in seconds."""

    def __init__(self) -> None:
        self.send_lag = array("d")
        self.wait = array("d")
        self.service = array("d")
        self.e2e = array("d")
        self.e2e_raw = array("d")
        self.anomalies = 0

    def add_done(self, wait: float, service: float, e2e: float, e2e_raw: float) -> None:
        """One finished task."""
        self.wait.append(wait)
        self.service.append(service)
        self.e2e.append(e2e)
        self.e2e_raw.append(e2e_raw)
        if wait <= 0 or service <= 0 or e2e <= 0:
            self.anomalies += 1

    def extend(self, other: Samples) -> None:
        """Add all samples of another."""
        self.send_lag.extend(other.send_lag)
        self.wait.extend(other.wait)
        self.service.extend(other.service)
        self.e2e.extend(other.e2e)
        self.e2e_raw.extend(other.e2e_raw)
        self.anomalies += other.anomalies

    def figures(self) -> TypeSeries:
        """The five series in figures."""
        return TypeSeries(
            send_lag=summary(self.send_lag),
            wait=summary(self.wait),
            service=summary(self.service),
            e2e=summary(self.e2e),
            e2e_raw=summary(self.e2e_raw),
        )


def collect(ledger: Ledger, *, first: int = 0) -> tuple[dict[str, Samples], dict[str, Samples]]:
    """Samples of tasks that succeeded, and of those that failed, from number `first` on.

    Each by type, and of all types under `all`. A task counts towards `send_lag` (of all, in the
    first) when Redis confirmed it, towards the others when its execution is known from a
    completion record. How fast a task failed is no figure of a good release.
    """
    by_kind = [Samples() for _ in ledger.types]
    failed_by_kind = [Samples() for _ in ledger.types]
    columns = (
        ledger.kind,
        ledger.intended,
        ledger.sent,
        ledger.acked,
        ledger.start,
        ledger.end,
        ledger.settled,
        ledger.outcome,
    )
    measured = zip(*(islice(column, first, None) for column in columns), strict=True)
    for kind, intended, sent, acked, start, end, settled, outcome in measured:
        if outcome == REFUSED:
            continue
        if acked == acked:
            by_kind[kind].send_lag.append(acked - intended)
        if outcome != OPEN and start == start:
            samples = (by_kind if outcome == SUCCEEDED else failed_by_kind)[kind]
            samples.add_done(start - intended, end - start, settled - intended, settled - sent)
    return _with_all(ledger.types, by_kind), _with_all(ledger.types, failed_by_kind)


def _with_all(types: Sequence[str], by_kind: Sequence[Samples]) -> dict[str, Samples]:
    whole = Samples()
    for part in by_kind:
        whole.extend(part)
    return {ALL: whole, **dict(zip(types, by_kind, strict=True))}


def summary(samples: Sequence[float]) -> Figures:
    """Count, mean, spread, the percentiles the count supports, and a mergeable histogram."""
    from taskrig_loadgen.maths.histogram import encode

    ordered = sorted(samples)
    count = len(ordered)
    if not count:
        return Figures(count=0)
    mean = math.fsum(ordered) / count
    variance = math.fsum((x - mean) ** 2 for x in ordered) / (count - 1) if count > 1 else 0.0
    return Figures(
        count=count,
        mean=mean,
        stddev=math.sqrt(variance),
        min=ordered[0],
        max=ordered[-1],
        hdr=encode(samples),
        **percentiles(count, lambda share: percentile(ordered, share)),
    )


def percentiles(count: int, at: Callable[[float], float]) -> dict[str, float]:
    """The percentiles that `count` samples support, by their fields in Figures.

    Args:
        at: the value at a share of the samples (0.99 for p99).
    """
    return {
        name.replace(".", "_"): at(share)
        for name, share in PERCENTILES.items()
        if supported(count, share)
    }


@dataclass(frozen=True, slots=True)
class SlotCosts:
    """What a task costs besides its handler, in seconds; None where it was never seen."""

    turnaround_s: float | None = None  # from the end of a handler to the next start on its slot
    pickup_s: float | None = None  # from the queue to the start on a free slot
    lag_s: float | None = None  # from the intended time to the queue


def slot_costs(ledger: Ledger, slots: int, *, first: int = 0) -> SlotCosts:
    """Follow the slots through a run; costs are those of tasks from number `first` on.

    A task that was in the queue before its slot became free shows what the worker needs to settle
    one task and start the next; one that found a slot free shows how long a push needs to reach a
    handler. Starts later than 100 ms are neither (a stalled machine, a paused queue).
    """
    tasks = sorted(
        (start, end, intended, acked, number >= first)
        for number, (start, end, intended, acked) in enumerate(
            zip(ledger.start, ledger.end, ledger.intended, ledger.acked, strict=True)
        )
        if start == start and acked == acked
    )
    lags = array("d", (acked - intended for _, _, intended, acked, counts in tasks if counts))
    free = [-math.inf] * slots
    turnarounds, pickups = array("d"), array("d")
    for start, end, intended, acked, counts in tasks if slots else ():
        freed = heapq.heapreplace(free, end)
        if not counts:
            continue
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


def worker_use(
    ledger: Ledger, views: Sequence[QueueView], *, after: float = -math.inf
) -> tuple[float | None, int | None]:
    """CPU of the workers' processes for one task, and the most memory of one; None: not known.

    The CPU is of what ended `after` that time of the server's clock.

    A worker tells both with its lease, every few seconds. When it told the first that is seen is
    not known, so what counts is between the second and the last.
    """
    told: dict[str, list[tuple[float, float]]] = {}
    memory = 0
    for view in views:
        for worker in view.workers:
            memory = max(memory, worker.memory_bytes)
            if view.at < after:
                continue
            readings = told.setdefault(worker.id, [])
            if worker.cpu_s is not None and (not readings or readings[-1][1] != worker.cpu_s):
                readings.append((view.at, worker.cpu_s))
    spans = [(some[1], some[-1]) for some in told.values() if len(some) > 2]
    if not spans:
        return None, memory or None
    cores = sum((last[1] - first[1]) / (last[0] - first[0]) for first, last in spans)
    since, until = min(first[0] for first, _ in spans), max(last[0] for _, last in spans)
    ended = sum(since <= end < until for end in ledger.end)
    return cores * (until - since) / ended if ended else None, memory or None


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
