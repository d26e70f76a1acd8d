"""Results of several generators of one load, as one result. Pure.

Counts and rates are added, histograms merged (three digits), means weighted. Percentiles of
single seconds cannot be merged: the worst of the generators stands there, an upper bound.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from taskrig.errors import UsageError
from taskrig_loadgen.maths.histogram import at_share
from taskrig_loadgen.maths.histogram import merge as merge_histograms
from taskrig_loadgen.result.figures import percentiles
from taskrig_loadgen.result.model import (
    SERIES,
    Accounting,
    Away,
    Clock,
    Figures,
    LeftOut,
    Outside,
    Result,
    TimelineRow,
    Totals,
    TypeSeries,
)
from taskrig_loadgen.result.verdict import judge_run

TOGETHER_S = 1.0  # generators that met at a barrier start within milliseconds

T = TypeVar("T", int, float)


def merge(results: Sequence[Result]) -> Result:
    """One result of at least two.

    Raises:
        UsageError: fewer than two, one of them twice, or runs of different kinds or types.
    """
    _refuse_unlike(results)
    first, started = results[0], min(r.started for r in results)
    whole = replace(
        first,
        run_id="+".join(r.run_id for r in results),
        started=started,
        queue=", ".join(dict.fromkeys(r.queue for r in results)),
        workload=replace(first.workload, profile=_profile(results)),
        clock=_clock([r.clock for r in results]),
        accounting=_accounting([r.accounting for r in results]),
        totals=_totals(results, started),
        series={kind: _series([r.series[kind] for r in results]) for kind in first.series},
        failed_series=_failed([r.failed_series for r in results]),
        left_out=_left_out([r.left_out for r in results]),
        timeline=_timeline(results, started),
        forecast=None,  # each was told of its own part of the load
        interrupted=any(r.interrupted for r in results),
        followed=all(r.followed for r in results),
        outages=sum(r.outages for r in results),
        away=_away(results, started),
        unsearched=next((r.unsearched for r in results if r.unsearched), None),
        send_errors=dict(sum((Counter(r.send_errors) for r in results), Counter())),
        expectations=[],
        outside=_outside(results, started) or UNSET,
    )
    whole.verdict = judge_run(whole)
    return whole


def _refuse_unlike(results: Sequence[Result]) -> None:
    if len(results) < 2:
        raise UsageError("merging needs at least two results")
    if len({r.run_id for r in results}) < len(results):
        raise UsageError("the same run is given twice")
    first = results[0]
    for other in results[1:]:
        if other.kind != first.kind:
            raise UsageError(f"cannot merge: kind is {other.kind!r} and {first.kind!r}")
        if set(other.series) != set(first.series):
            raise UsageError("cannot merge: the runs have different types")


def refuse_apart(results: Sequence[Result]) -> None:
    """Refuse runs of generators that did not start together, or did not send alike.

    Raises:
        UsageError: with what differs.
    """
    first = results[0]
    starts = [result.started for result in results]
    if max(starts) - min(starts) > TOGETHER_S:
        raise UsageError(
            f"cannot merge: the runs started {max(starts) - min(starts):.1f} s apart; "
            "start them together with --barrier"
        )
    for other in results[1:]:
        for name in ("profile", "arrivals", "warmup_s", "data_bytes", "mix", "repeat", "order"):
            ours, theirs = getattr(first.workload, name), getattr(other.workload, name)
            if ours != theirs:
                raise UsageError(f"cannot merge: {name} is {theirs!r} and {ours!r}")


def _profile(results: Sequence[Result]) -> str | None:
    texts = [r.workload.profile for r in results]
    if texts[0] is None:
        return None
    if len(set(texts)) == 1:
        return f"{len(results)} x {texts[0]}"
    return " + ".join(map(str, texts))


def _accounting(parts: Sequence[Accounting]) -> Accounting:
    names = Accounting.__struct_fields__
    return Accounting(**{name: sum(getattr(part, name) for part in parts) for name in names})


def _clock(clocks: Sequence[Clock]) -> Clock:
    return Clock(
        offset_error_s=max(c.offset_error_s for c in clocks),
        drift_s=max((c.drift_s for c in clocks if c.drift_s is not None), key=abs, default=None),
        anomalies=sum(c.anomalies for c in clocks),
    )


def _totals(results: Sequence[Result], started: float) -> Totals:
    totals = [r.totals for r in results]
    ends = [r.started + r.totals.makespan_s for r in results if r.totals.makespan_s]
    makespan = max(ends) - started if ends else None
    done = sum(round((r.totals.done_per_s or 0) * (r.totals.makespan_s or 0)) for r in results)
    return Totals(
        makespan_s=makespan,
        serial_s=math.fsum(_known(t.serial_s for t in totals)) or None,
        ideal_s=None,  # of one pushed order; several have none
        ideal_basis="unknown",
        concurrency=_over_queues(results, lambda t: t.concurrency),
        workers=_over_queues(results, lambda t: t.workers),
        offered_per_s=math.fsum(_known(t.offered_per_s for t in totals)) or None,
        achieved_per_s=math.fsum(_known(t.achieved_per_s for t in totals)) or None,
        done_per_s=done / makespan if makespan else None,
        send_s=max(t.send_s for t in totals),
        drain_s=None,
        drained_per_s=None,
        measured_due=sum(t.measured_due or 0 for t in totals) or None,
        measured_started=sum(t.measured_started or 0 for t in totals) or None,
        slot_overhead_s=min(_known(t.slot_overhead_s for t in totals), default=None),
        pickup_s=min(_known(t.pickup_s for t in totals), default=None),
        lag_s=min(_known(t.lag_s for t in totals), default=None),
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _over_queues(results: Sequence[Result], of: Callable[[Totals], int]) -> int:
    """Workers of one queue were seen by every generator; those of another queue are others."""
    by_queue: dict[str, int] = {}
    for result in results:
        by_queue[result.queue] = max(by_queue.get(result.queue, 0), of(result.totals))
    return sum(by_queue.values())


def _series(parts: Sequence[TypeSeries]) -> TypeSeries:
    return TypeSeries(**{name: _figures([part.get(name) for part in parts]) for name in SERIES})


def _failed(parts: Sequence[dict[str, TypeSeries] | None]) -> dict[str, TypeSeries] | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None  # an older result has them among the others
    kinds = dict.fromkeys(kind for part in known for kind in part)
    return {kind: _series([part[kind] for part in known if kind in part]) for kind in kinds}


def _left_out(parts: Sequence[LeftOut | None]) -> LeftOut | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    names = [name for name in known[0].counts if all(name in part.counts for part in known)]
    counts = {name: sum(part.counts[name] for part in known) for name in names}
    return LeftOut(seconds=max(part.seconds for part in known), counts=counts)


def _away(results: Sequence[Result], started: float) -> list[Away]:
    """The outages of all; one that several have seen is one."""
    seen = [replace(one, at_s=one.at_s + r.started - started) for r in results for one in r.away]
    whole: list[Away] = []
    for one in sorted(seen, key=lambda one: one.at_s):
        if not whole or one.at_s > whole[-1].end_s:
            whole.append(one)
            continue
        before = whole[-1]
        length_s = max(before.end_s, one.end_s) - before.at_s
        whole[-1] = replace(before, length_s=length_s, looks=before.looks + one.looks)
    return whole


def _figures(parts: Sequence[Figures]) -> Figures:
    parts = [part for part in parts if part.count]
    if not parts:
        return Figures(count=0)
    count = sum(part.count for part in parts)
    mean = math.fsum((part.mean or 0.0) * part.count for part in parts) / count
    square = math.fsum(
        (part.stddev or 0.0) ** 2 * (part.count - 1) + part.count * ((part.mean or 0.0) - mean) ** 2
        for part in parts
    )
    histogram = merge_histograms(part.hdr for part in parts if part.hdr)
    largest = max(_known(part.max for part in parts), default=math.inf)
    return Figures(
        count=count,
        mean=mean,
        stddev=math.sqrt(square / (count - 1)) if count > 1 else 0.0,
        min=min(_known(part.min for part in parts), default=None),
        max=largest,
        hdr=histogram.encode().decode(),
        **percentiles(count, lambda share: min(at_share(histogram, share), largest)),
    )


def _timeline(results: Sequence[Result], started: float) -> list[TimelineRow]:
    """Of one queue every generator has seen the same depths; those of several are added."""
    by_queue: dict[str, list[TimelineRow]] = {}
    for result in results:
        shift = round(result.started - started)
        rows = [replace(row, second=row.second + shift) for row in result.timeline]
        by_queue.setdefault(result.queue, []).extend(rows)
    queues = [_by_second(rows, _largest) for rows in by_queue.values()]
    return _by_second([row for rows in queues for row in rows], _added)


def _by_second(
    rows: Iterable[TimelineRow], depth: Callable[[Iterable[int | None]], int | None]
) -> list[TimelineRow]:
    """One row for each second.

    Args:
        depth: makes one depth of those in the rows of a second.
    """
    together: dict[int, list[TimelineRow]] = {}
    for row in rows:
        together.setdefault(row.second, []).append(row)
    return [_one_row(second, together[second], depth) for second in sorted(together)]


def _one_row(
    second: int, rows: list[TimelineRow], depth: Callable[[Iterable[int | None]], int | None]
) -> TimelineRow:
    return TimelineRow(
        second=second,
        offered=sum(row.offered for row in rows),
        sent=sum(row.sent for row in rows),
        done=sum(row.done for row in rows),
        failed=sum(row.failed for row in rows),
        busy_slots=round(sum(row.busy_slots for row in rows), 3),
        e2e_p50=_largest(row.e2e_p50 for row in rows),
        e2e_p90=_largest(row.e2e_p90 for row in rows),
        e2e_p99=_largest(row.e2e_p99 for row in rows),
        e2e_max=_largest(row.e2e_max for row in rows),
        wait_p50=_largest(row.wait_p50 for row in rows),
        wait_p90=_largest(row.wait_p90 for row in rows),
        wait_p99=_largest(row.wait_p99 for row in rows),
        wait_max=_largest(row.wait_max for row in rows),
        waiting=depth(row.waiting for row in rows),
        in_flight=depth(row.in_flight for row in rows),
        concurrency=depth(row.concurrency for row in rows),
    )


def _largest(values: Iterable[T | None]) -> T | None:
    return max((value for value in values if value is not None), default=None)


def _added(values: Iterable[int | None]) -> int | None:
    """None where one is not known: the rest is not the whole."""
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


def _outside(results: Sequence[Result], started: float) -> Outside | None:
    """What was seen from outside, of all queues; None unless all were watched so.

    Whoever read the workers' metrics read those of all tasks: of several such sums the largest.
    """
    seen = [r.outside for r in results if r.outside is not UNSET]
    if len(seen) < len(results):
        return None
    ends: list[float] = []
    areas: dict[str, float] = {}  # mean wait times tasks, by queue
    for result, outside in zip(results, seen, strict=True):
        if outside.emptied_s is not None:
            ends.append(result.started - started + outside.emptied_s)
        area = (outside.mean_wait_s or 0.0) * result.accounting.sent
        areas[result.queue] = max(areas.get(result.queue, 0.0), area)
    known, sent = len(ends) == len(seen), sum(r.accounting.sent for r in results)
    return replace(
        max(seen, key=_counted),
        emptied_s=max(ends) if known else None,
        mean_wait_s=math.fsum(areas.values()) / sent if known and sent else None,
    )


def _counted(seen: Outside) -> float:
    return math.fsum(
        value
        for figures in seen.types.values()
        for name, value in figures.items()
        if not name.endswith("_s")
    )
