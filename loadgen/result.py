"""The result of a run: one versioned JSON document. Reports are pure functions of it."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.capacity import list_schedule_s
from loadgen.figures import (
    collect,
    due_and_started,
    flat_out_per_s,
    series,
    slot_costs,
    timeline,
)
from loadgen.ledger import DEAD, FAILED, SUCCEEDED, Ledger
from loadgen.mix import NOMINAL_SERVICE_S
from loadgen.observer import Whereabouts
from loadgen.queueview import QueueView
from loadgen.sender import SendReport
from loadgen.workload import Workload
from worker.errors import UsageError

FORMAT = "taskrig-loadgen-result"
VERSION = 1

Result = dict[str, Any]  # the document itself; its shape is in result.schema.json

# Where a task that was sent can be in the end: the parts of `sent`.
PARTS = (
    "succeeded", "failed", "dead", "waiting", "in_flight", "delayed", "lost", "gone", "unknown",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Facts:
    """Everything a run has seen, before it is turned into figures."""

    kind: str
    run_id: str
    command: list[str]
    started: float
    queue: str
    workload: Workload
    ledger: Ledger
    where: Whereabouts
    views: list[QueueView]
    send: SendReport
    outages: int
    interrupted: bool
    followed: bool
    clock: dict[str, float | None]
    environment: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None  # measured before the run, apart from it
    forecast: dict[str, Any] | None = None  # the inputs of a prediction, fixed before the run


def make_result(facts: Facts) -> Result:
    """The document of one run, without expectations (they are judged later, on the document)."""
    ledger, workload = facts.ledger, facts.workload
    since = facts.started + workload.warmup_s if workload.warmup_s else -math.inf
    samples = collect(ledger, since=since)
    rows = timeline(ledger, facts.views, facts.started, _unsent(facts))
    result: Result = {
        "format": FORMAT,
        "version": VERSION,
        "kind": facts.kind,
        "run_id": facts.run_id,
        "started": facts.started,
        "started_text": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(facts.started)),
        "command": facts.command,
        "queue": facts.queue,
        "workload": workload.describe(),
        "environment": facts.environment,
        "clock": {**facts.clock, "anomalies": samples["all"].anomalies},
        "accounting": accounting(facts),
        "totals": totals(facts),
        "series": series(samples),
        "timeline": rows,
        "calibration": facts.calibration,
        "forecast": facts.forecast,
        "interrupted": facts.interrupted,
        "followed": facts.followed,
        "outages": facts.outages,
        "unsearched": facts.where.unsearched or None,
        "send_errors": facts.send.errors,
        "expectations": [],
    }
    result["verdict"] = verdict(result)
    return result


def accounting(facts: Facts) -> dict[str, int]:
    """How many tasks were sent and what became of them: `sent` is the sum of PARTS.

    Of this run's tasks only; gone are those that were watched from outside and left the queue,
    unknown those that could not be looked for in the end.
    """
    ledger, where = facts.ledger, facts.where
    return {
        "sent": ledger.sent_count - where.never_arrived,
        "succeeded": ledger.by_outcome[SUCCEEDED],
        "failed": ledger.by_outcome[FAILED],
        "dead": ledger.by_outcome[DEAD],
        "waiting": where.waiting,
        "in_flight": where.in_flight,
        "delayed": where.delayed,
        "lost": where.lost,
        "gone": where.gone,
        "unknown": where.unknown,
        "duplicates": ledger.duplicates,
        "lost_claims": ledger.lost_claims,
        "interrupted": ledger.interrupted,
        "retried": ledger.retried,
        "unconfirmed": ledger.unconfirmed,
        "never_arrived": where.never_arrived,
        "refused": facts.send.refused,
        "foreign_records": ledger.foreign,
        "unsent": _unsent(facts),
    }


def _unsent(facts: Facts) -> int:
    """Tasks that were due and never pushed: the sender was too slow (not: it was interrupted)."""
    if not facts.send.gave_up:
        return 0
    return max(1, round(facts.workload.total) - len(facts.ledger))


def totals(facts: Facts) -> dict[str, Any]:
    """Makespan, serial and ideal time, rates, concurrency."""
    ledger, workload = facts.ledger, facts.workload
    settled = max((t for t in ledger.settled if t == t), default=math.nan)
    first = min(ledger.sent, default=math.nan)
    makespan = settled - first
    drain = settled - min((t for t in ledger.start if t == t), default=math.nan)
    concurrency = max((view.concurrency for view in facts.views), default=0)
    costs = slot_costs(ledger, concurrency)
    services, basis = _services(ledger)
    ideal = None
    if services and concurrency and workload.profile is None:
        ideal = list_schedule_s(services, concurrency)
    offered, achieved = _rates(facts)
    return {
        "makespan_s": _number(makespan),
        "serial_s": math.fsum(services) if services else None,
        "ideal_s": ideal,
        "ideal_basis": basis,
        "concurrency": concurrency,
        "workers": max((len(view.workers) for view in facts.views), default=0),
        "offered_per_s": offered,
        "achieved_per_s": achieved,
        "done_per_s": ledger.done / makespan if makespan and makespan > 0 else None,
        "send_s": _span(ledger),
        "drain_s": _number(drain),
        "drained_per_s": ledger.done / drain if drain > 0 else None,
        "flat_out_per_s": None if workload.profile else flat_out_per_s(ledger, concurrency),
        **_measured(facts),
        "slot_overhead_s": costs.turnaround_s,
        "pickup_s": costs.pickup_s,
        "lag_s": costs.lag_s,
    }


def _measured(facts: Facts) -> dict[str, int | None]:
    """Tasks due, and started, from the warm-up to the schedule's end; None without a schedule."""
    profile, due, started = facts.workload.profile, None, None
    if profile is not None and not facts.interrupted:
        since = facts.started + facts.workload.warmup_s
        due, started = due_and_started(facts.ledger, since, facts.started + profile.length_s)
    return {"measured_due": due, "measured_started": started}


def _rates(facts: Facts) -> tuple[float | None, float | None]:
    """Tasks a second asked for (None without a schedule), and really sent."""
    ledger, profile = facts.ledger, facts.workload.profile
    span = _span(ledger)
    length = profile.length_s if profile and not facts.interrupted else span
    elapsed = max(length, span)
    if not elapsed:
        return None, None
    if profile is None:
        return None, ledger.sent_count / elapsed
    # What was due is known by count: a Poisson schedule holds more or less than its mean.
    due = len(ledger) + _unsent(facts)
    return due / length, ledger.sent_count / elapsed


def _services(ledger: Ledger) -> tuple[list[float], str]:
    """Service time of each task in pushed order: nominal for demo types, else measured."""
    if all(name in NOMINAL_SERVICE_S for name in ledger.types):
        nominal = [NOMINAL_SERVICE_S[name] for name in ledger.types]
        return [nominal[kind] for kind in ledger.kind], "nominal"
    measured = [e - s for s, e in zip(ledger.start, ledger.end, strict=True) if e == e]
    complete = len(measured) == len(ledger) and len(measured) > 0
    return (measured, "measured") if complete else ([], "unknown")


def _span(ledger: Ledger) -> float:
    """Seconds from the first push to the last answer to a push."""
    acked = max((t for t in ledger.acked if t == t), default=math.nan)
    return max(0.0, acked - ledger.sent[0]) if len(ledger) and acked == acked else 0.0


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


SATURATED_BELOW = 0.99  # of the offered rate
SATURATED_LAG_SHARE = 0.1  # send_lag p99 over this share of the e2e median
# ... and over this: a tenth of a short task's e2e is less than the sender's own tick of 1 ms, and
# than the few milliseconds by which any shared machine wakes a process late now and then.
SATURATED_LAG_S = 0.005
GROWING_SHARE = 0.1  # the last quarter's backlog over the second quarter's, by this share of sent


def verdict(result: Result) -> dict[str, Any]:
    """What may and may not be believed about the run, with the reason in words."""
    reasons = []
    unknown, unsearched = unknown_of(result), result.get("unsearched")
    if unknown:
        reasons.append(f"{unknown:,} tasks could not be looked for at the end: {unsearched}")
    saturated = _saturation(result)
    if saturated:
        reasons.append(saturated)
    growing = _overload(result)
    if growing:
        reasons.append(growing)
    books = result["accounting"]
    left = books["waiting"] + books["in_flight"] + books["delayed"]
    complete = not (left or books["lost"] or unknown)
    return {
        "complete": complete,
        "saturated": bool(saturated),
        "overloaded": bool(growing),
        "no_worker": not result["totals"]["workers"],
        "reasons": reasons,
    }


def unknown_of(result: Result) -> int:
    """Tasks that could not be looked for at the end; results of before had none."""
    return int(result["accounting"].get("unknown", 0))


def _saturation(result: Result) -> str:
    if result["workload"]["profile"] is None:
        return ""
    totals_, series_ = result["totals"], result["series"]["all"]
    offered, achieved = totals_["offered_per_s"], totals_["achieved_per_s"]
    unsent = result["accounting"]["unsent"]
    if unsent:
        return f"saturated: {unsent:,} tasks were due and never sent: not the load you asked for"
    if offered and achieved and achieved < SATURATED_BELOW * offered:
        return f"saturated: sent {achieved:,.0f}/s of {offered:,.0f}/s asked for"
    lag, median = series_["send_lag"].get("p99"), series_["e2e"].get("p50")
    if lag and median and lag > max(SATURATED_LAG_SHARE * median, SATURATED_LAG_S):
        return (
            f"saturated: send_lag p99 {lag * 1e3:.1f} ms is over a tenth of the e2e median "
            f"{median * 1e3:.1f} ms: the generator or Redis was late, not only the worker"
        )
    return ""


def _overload(result: Result) -> str:
    """A backlog that grows through the whole sending time, not only at its start."""
    rows = [row for row in result["timeline"] if row["offered"] > 0 and row["waiting"] is not None]
    if result["workload"]["profile"] is None or len(rows) < 8:
        return ""
    quarter = len(rows) // 4
    early = sum(row["waiting"] for row in rows[quarter : 2 * quarter]) / quarter
    late = sum(row["waiting"] for row in rows[-quarter:]) / quarter
    between = sum(row["sent"] for row in rows[2 * quarter : -quarter or None])
    if late > early + 10 and late - early > GROWING_SHARE * between:
        return (
            f"overloaded: the queue grew through the run ({early:,.0f} to {late:,.0f} waiting): "
            "its percentiles depend on how long it runs"
        )
    return ""


def exit_code(result: Result) -> int:
    """0 good, 1 tasks lost, left or refused, 4 saturated, 99 expectation failed, 130 Ctrl-C.

    5 where Redis was out of reach at the end, so that tasks could not be looked for.
    """
    if result["interrupted"]:
        return 130
    if unknown_of(result):
        return 5
    if any(not one["ok"] for one in result["expectations"]):
        return 99
    if result["verdict"]["saturated"]:
        return 4
    books = result["accounting"]
    if books["refused"] or books["never_arrived"] or books["unsent"]:
        return 1
    if result["followed"] and not result["verdict"]["complete"]:
        return 1
    return 0


def save(result: Result, path: Path) -> None:
    """Write the document; whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    text = json.dumps(result, indent=1, allow_nan=False)
    write_file(path, text)


def write_file(path: Path, text: str) -> None:
    """Write by way of a file beside it, so that a crash leaves the old one.

    A link is followed; into what is no regular file, such as a pipe or /dev/stdout, it is written
    as it stands: a device must not be replaced.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        target = path.resolve()
        beside = target.with_name(target.name + ".part")
        beside.write_text(text, encoding="utf-8")
        beside.replace(target)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


def check_target(path: Path) -> None:
    """Refuse, before a run, what cannot be written after it.

    Raises:
        UsageError: it is a folder, or its folder is missing or may not be written.
    """
    folder = path.resolve().parent
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder; name a file in it")
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {folder}")
    if path.exists() and not path.is_file():
        folder = path  # a pipe or a device: nothing is written beside it
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {path}: {folder} may not be written")


def schema_text() -> str:
    """The JSON Schema of the document."""
    return (Path(__file__).parent / "result.schema.json").read_text(encoding="utf-8").rstrip()


def load(path: Path) -> Result:
    """Read a result and check that it is one.

    Raises:
        UsageError: no such file, no JSON, another format or shape, or a newer version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError(f'{path} is no result of loadgen (no "format": "{FORMAT}")')
    if document.get("version") != VERSION:
        found = document.get("version")
        raise UsageError(f"{path} has format version {found}; this loadgen reads version {VERSION}")
    import fastjsonschema  # here: only who reads a result need wait for it

    try:
        fastjsonschema.validate(json.loads(schema_text()), document)
    except fastjsonschema.JsonSchemaValueException as error:
        wrong = error.message.replace("data", "result", 1)
        raise UsageError(f"{path} is no whole result of loadgen: {wrong}") from None
    return document
