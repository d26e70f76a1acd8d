"""From what a run has seen to its result. Pure."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter

from msgspec import UNSET

from taskrig_loadgen.load.mix import ALL, NOMINAL_SERVICE_S
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.maths.queueing import list_schedule_s
from taskrig_loadgen.result.figures import (
    collect,
    due_and_started,
    flat_out_per_s,
    slot_costs,
    worker_use,
)
from taskrig_loadgen.result.ledger import DEAD, FAILED, REFUSED, SUCCEEDED, Ledger
from taskrig_loadgen.result.model import (
    Accounting,
    Basis,
    Clock,
    LeftOut,
    LoadShape,
    Result,
    Totals,
)
from taskrig_loadgen.result.record import RunRecord
from taskrig_loadgen.result.timeline import timeline
from taskrig_loadgen.result.verdict import judge_run, unjudged


def make_result(record: RunRecord) -> Result:
    """The result of one run, without expectations (they are judged later, on the result)."""
    ledger, first = record.ledger, _first_measured(record)
    samples, failed = collect(ledger, first=first)
    result = Result(
        kind=record.kind,
        run_id=record.run_id,
        started=record.started,
        started_text=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(record.started)),
        command=record.command,
        queue=record.queue,
        workload=_shape(record.workload),
        environment=record.environment,
        clock=Clock(
            offset_error_s=record.clock_error_s,
            drift_s=record.clock_drift_s,
            anomalies=samples[ALL].anomalies + failed[ALL].anomalies,
        ),
        accounting=_accounting(record),
        totals=_totals(record, first),
        series={name: part.figures() for name, part in samples.items()},
        failed_series={name: part.figures() for name, part in failed.items() if part.e2e},
        left_out=_left_out(record, first),
        timeline=timeline(record, _unsent(record)),
        calibration=record.calibration,
        forecast=record.forecast,
        interrupted=record.interrupted,
        followed=record.followed,
        outages=sum(one.looks for one in record.away),
        away=record.away,
        unsearched=record.where.unsearched or None,
        send_errors=record.send.errors,
        expectations=[],
        verdict=unjudged(),
        outside=record.outside or UNSET,
    )
    result.verdict = judge_run(result)
    return result


def _shape(workload: Workload) -> LoadShape:
    data_bytes = map(round, workload.data_bytes())
    return LoadShape(
        mix=dict(workload.mix.counts),
        repeat=workload.repeat,
        profile=workload.profile.text if workload.profile else None,
        arrivals=workload.arrivals.text if workload.profile else "at once",
        seed=workload.seed,
        order="shuffled" if workload.shuffle else "smooth",
        warmup_s=workload.warmup_s,
        data_bytes=dict(zip(workload.mix.types, data_bytes, strict=True)),
    )


def _accounting(record: RunRecord) -> Accounting:
    """How many of this run's tasks were sent, and what became of them.

    Gone are those that were watched from outside and left the queue, unknown those that could not
    be looked for in the end.
    """
    ledger, where = record.ledger, record.where
    return Accounting(
        sent=ledger.sent_count - where.never_arrived,
        succeeded=ledger.by_outcome[SUCCEEDED],
        failed=ledger.by_outcome[FAILED],
        dead=ledger.by_outcome[DEAD],
        waiting=where.waiting,
        in_flight=where.in_flight,
        delayed=where.delayed,
        lost=where.lost,
        gone=where.gone,
        unknown=where.unknown,
        duplicates=ledger.duplicates,
        lost_claims=ledger.lost_claims,
        interrupted=ledger.interrupted,
        retried=ledger.retried,
        unconfirmed=ledger.unconfirmed,
        never_arrived=where.never_arrived,
        refused=record.send.refused,
        foreign_records=ledger.foreign,
        unsent=_unsent(record),
    )


def _unsent(record: RunRecord) -> int:
    """Tasks that were due and never pushed: the sender was too slow (not: it was interrupted)."""
    if not record.send.gave_up:
        return 0
    return max(1, round(record.workload.total) - len(record.ledger))


def _first_measured(record: RunRecord) -> int:
    """The number of the first task after the warm-up: of no task before it is there a figure."""
    warmup_s = record.workload.warmup_s
    return bisect_left(record.ledger.intended, record.started + warmup_s) if warmup_s else 0


def _left_out(record: RunRecord, first: int) -> LeftOut | None:
    """What the warm-up leaves out, in the words of the accounting; None without one."""
    if not record.workload.warmup_s:
        return None
    ledger = record.ledger
    ended = Counter(ledger.outcome[:first])
    missing = [n for n in record.where.missing if n < first]
    never = sum(ledger.acked[n] != ledger.acked[n] for n in missing)
    nowhere = len(missing) - never
    lost = 0 if record.outside else nowhere
    counts = {
        "sent": first - ended[REFUSED] - never,
        "succeeded": ended[SUCCEEDED],
        "failed": ended[FAILED],
        "dead": ended[DEAD],
        "lost": lost,
        "gone": nowhere - lost,
        "never_arrived": never,
        "refused": ended[REFUSED],
        "offered": first,
        "bad": ended[FAILED] + ended[DEAD] + ended[REFUSED] + never + lost,
        "duplicates": sum(runs - 1 for runs in ledger.executions[:first] if runs),
        "unconfirmed": sum(t != t for t in ledger.acked[:first]) - ended[REFUSED],
        "unsent": 0,  # what was due and never sent came after all that was
    }
    return LeftOut(seconds=record.workload.warmup_s, counts=counts)


def _totals(record: RunRecord, first: int) -> Totals:
    """Makespan, serial and ideal time, rates, concurrency; of tasks from number `first` on."""
    ledger, workload = record.ledger, record.workload
    settled = max((t for t in ledger.settled[first:] if t == t), default=math.nan)
    makespan = settled - min(ledger.sent[first:], default=math.nan)
    drain = settled - min((t for t in ledger.start[first:] if t == t), default=math.nan)
    done = ledger.outcome.count(SUCCEEDED, first)
    concurrency = max((view.concurrency for view in record.views), default=0)
    costs = slot_costs(ledger, concurrency, first=first)
    services, basis = _services(ledger)
    ideal = None
    if services and concurrency and workload.profile is None:
        ideal = list_schedule_s(services, concurrency)
    offered, achieved = _rates(record, first)
    due, started = _measured(record)
    measured_from = record.started + workload.warmup_s if workload.warmup_s else -math.inf
    cpu_s, memory_bytes = worker_use(ledger, record.views, after=measured_from)
    return Totals(
        makespan_s=_number(makespan),
        serial_s=math.fsum(services) if services else None,
        ideal_s=ideal,
        ideal_basis=basis,
        concurrency=concurrency,
        workers=max((len(view.workers) for view in record.views), default=0),
        offered_per_s=offered,
        achieved_per_s=achieved,
        done_per_s=done / makespan if makespan > 0 else None,
        send_s=_span(ledger, first),
        drain_s=_number(drain),
        drained_per_s=done / drain if drain > 0 else None,
        flat_out_per_s=None if workload.profile else flat_out_per_s(ledger, concurrency),
        measured_due=due,
        measured_started=started,
        slot_overhead_s=costs.turnaround_s,
        pickup_s=costs.pickup_s,
        lag_s=costs.lag_s,
        cpu_s=cpu_s,
        memory_bytes=memory_bytes,
    )


def _measured(record: RunRecord) -> tuple[int | None, int | None]:
    """Tasks due, and started, from the warm-up to the schedule's end; None without a schedule."""
    profile = record.workload.profile
    if profile is None or record.interrupted:
        return None, None
    since = record.started + record.workload.warmup_s
    return due_and_started(record.ledger, since, record.started + profile.length_s)


def _rates(record: RunRecord, first: int) -> tuple[float | None, float | None]:
    """Tasks a second asked for (None without a schedule), and really sent."""
    ledger, profile = record.ledger, record.workload.profile
    span = _span(ledger, first)
    length = span
    if profile and not record.interrupted:
        length = profile.length_s - record.workload.warmup_s
    elapsed = max(length, span)
    if not elapsed:
        return None, None
    sent = len(ledger) - first - ledger.outcome.count(REFUSED, first)
    if profile is None:
        return None, sent / elapsed
    # What was due is known by count: a Poisson schedule holds more or less than its mean.
    due = len(ledger) - first + _unsent(record)
    return due / length, sent / elapsed


def _services(ledger: Ledger) -> tuple[list[float], Basis]:
    """Service time of each task in pushed order: nominal for demo types, else measured."""
    if all(name in NOMINAL_SERVICE_S for name in ledger.types):
        nominal = [NOMINAL_SERVICE_S[name] for name in ledger.types]
        return [nominal[kind] for kind in ledger.kind], "nominal"
    measured = [e - s for s, e in zip(ledger.start, ledger.end, strict=True) if e == e]
    complete = len(measured) == len(ledger) and len(measured) > 0
    return (measured, "measured") if complete else ([], "unknown")


def _span(ledger: Ledger, first: int) -> float:
    """Seconds from the first push to the last answer to a push, from task number `first` on."""
    acked = max((t for t in ledger.acked[first:] if t == t), default=math.nan)
    return max(0.0, acked - ledger.sent[first]) if len(ledger) > first and acked == acked else 0.0


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
