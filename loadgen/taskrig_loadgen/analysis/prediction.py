"""Theory beside measurement: what a queue should do, told from what was known before the run. Pure.

`predict` is called before the first task is sent and sees the workload, the slots and, if there
was one, a calibration: a short run of its own, before and apart. Nothing that the run measures
can reach the prediction; `predicted` only sets the two side by side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct, field

from taskrig_loadgen.load.mix import NOMINAL_SERVICE_S
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.maths.histogram import merge
from taskrig_loadgen.maths.queueing import Queue
from taskrig_loadgen.maths.stats import PERCENTILES
from taskrig_loadgen.result.model import (
    Calibration,
    Forecast,
    MeasuredService,
    Result,
    Service,
    SlotUse,
)

NO_PREDICTION = (
    "No prediction for this run: use a constant --rate, and --calibrate for your own types."
)
WITHIN = ("p50", "p90", "p95", "p99")
MOST_COUNTED = 300_000  # tasks of a schedule that are counted; more are as good as their mean

# Where nothing was calibrated: what `make truth-plan` finds on a machine of two cores.
TYPICAL_TURNAROUND_S = 0.0005  # from the end of a handler to the next start on its slot
TYPICAL_PICKUP_S = 0.0003  # from the queue to the start on a free slot
TYPICAL_LAG_S = 0.0010  # from the intended time to the queue: the sender looks once a millisecond


def measured_calibration(result: Result) -> Calibration | None:
    """What a short run shows of services and overheads; None when nothing of it ended.

    Only what a plan takes as given: times of handlers, of the worker between them and of the
    sender. Not how long tasks waited.
    """
    service, totals = result.overall.service, result.totals
    mean, stddev, hdr = service.mean, service.stddev, service.hdr
    if mean is None or stddev is None or hdr is None or not totals.concurrency:
        return None
    return Calibration(
        run_id=result.run_id,
        tasks=service.count,
        rate_per_s=totals.offered_per_s,
        slots=totals.concurrency,
        workers=totals.workers,
        cpu_s=totals.cpu_s,
        memory_bytes=totals.memory_bytes,
        service=MeasuredService(count=service.count, mean=mean, stddev=stddev, hdr=hdr),
        turnaround_s=_or(totals.slot_overhead_s, TYPICAL_TURNAROUND_S),
        pickup_s=_or(totals.pickup_s, TYPICAL_PICKUP_S),
        lag_s=_or(totals.lag_s, TYPICAL_LAG_S),
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def declared(mix: Mapping[str, int]) -> SlotUse | None:
    """The same for types whose service time is known by name; None where one is not."""
    if not all(name in NOMINAL_SERVICE_S for name in mix):
        return None
    total = sum(mix.values())
    mean = sum(NOMINAL_SERVICE_S[name] * count for name, count in mix.items()) / total
    square = sum(NOMINAL_SERVICE_S[name] ** 2 * count for name, count in mix.items()) / total
    return SlotUse(
        service=Service(mean=mean, stddev=math.sqrt(max(square - mean**2, 0.0))),
        turnaround_s=TYPICAL_TURNAROUND_S,
        pickup_s=TYPICAL_PICKUP_S,
        lag_s=TYPICAL_LAG_S,
    )


def queue_from(known: SlotUse, *, rate: float, slots: int, arrivals: str) -> Queue:
    """The queue that a calibration (or declared services) describes, at any rate and slots.

    A slot is taken for the handler and for the turnaround until it has started the next task,
    so both are its service time; a free slot still needs a moment to pick a task up.
    """
    taken_s = known.service.mean + known.turnaround_s
    cv2 = (known.service.stddev / taken_s) ** 2 if taken_s > 0 else 0.0
    return Queue(rate, taken_s, cv2, slots, _cv2(arrivals), known.lag_s, known.pickup_s)


def _cv2(arrivals: str) -> float:
    """1 for Poisson, 0 for uniform; a burst of n counts as n (batch arrivals)."""
    if arrivals == "uniform":
        return 0.0
    if arrivals.startswith("burst:"):
        return float(arrivals.removeprefix("burst:"))
    return 1.0


def predict(workload: Workload, slots: int, calibration: Calibration | None) -> Forecast | None:
    """The inputs of a prediction, for the result; None where the theory does not apply.

    It applies to a steady rate: not to a mix pushed at once, nor to a ramp. And something must
    be known of the services: from a calibration, or declared by the type's name.
    """
    profile = workload.profile
    if profile is None or "," in profile.text or ".." in profile.text or not 0 < slots <= 100_000:
        return None
    known = calibration or declared(dict(workload.mix.counts))
    if known is None:
        return None
    return Forecast(
        made_from=_said(calibration),
        rate_per_s=_rate(workload),
        arrivals=workload.arrivals.text,
        slots=slots,
        service=Service(mean=known.service.mean, stddev=known.service.stddev),
        turnaround_s=known.turnaround_s,
        pickup_s=known.pickup_s,
        lag_s=known.lag_s,
    )


def _said(calibration: Calibration | None) -> str:
    if calibration is None:
        return "service times declared by the types' names, typical overheads"
    return f"a calibration of {calibration.tasks:,} other tasks just before the run"


def _rate(workload: Workload) -> float:
    """Tasks a second of the schedule itself: a Poisson schedule holds more or less than its mean.

    It is fixed before the run, so it is counted, as far as it lies after the warm-up.
    """
    profile = workload.profile
    assert profile is not None  # predict has looked
    length_s = profile.length_s - workload.warmup_s
    if profile.total > MOST_COUNTED or length_s <= 0:
        return profile.total / profile.length_s
    return sum(1 for due_s in workload.due() if due_s >= workload.warmup_s) / length_s


class PredictedRow(Struct, kw_only=True):
    """A figure of the wait, predicted and measured; None: the queue grows without end."""

    figure: str
    predicted_s: float | None
    measured_s: float | None


class Prediction(Struct, kw_only=True):
    """What the theory makes of a forecast, beside what the run has measured."""

    made_from: str = field(name="from")
    utilization: float
    rate_per_s: float
    service_s: float
    service_cv2: float
    slots: int
    waits: float
    turnaround_s: float
    pickup_s: float
    rows: list[PredictedRow]


def predicted(result: Result) -> Prediction | None:
    """Rows of wait, predicted and measured; None where there is no prediction."""
    told = result.forecast
    if told is None:
        return None
    queue = queue_from(told, rate=told.rate_per_s, slots=told.slots, arrivals=told.arrivals)
    wait = result.overall.wait
    rows = [_row("mean", queue.seen_mean_s, wait.mean)]
    for name in WITHIN:
        measured = wait.get(name)
        if measured is not None:
            rows.append(_row(name, queue.seen_wait_s(PERCENTILES[name]), measured))
    return Prediction(
        made_from=told.made_from,
        utilization=queue.utilization,
        rate_per_s=queue.rate,
        service_s=told.service.mean,
        service_cv2=queue.service_cv2,
        slots=queue.slots,
        waits=queue.waits,
        turnaround_s=told.turnaround_s,
        pickup_s=queue.lag_s + queue.pickup_s,
        rows=rows,
    )


def _row(name: str, forecast: float, measured: float | None) -> PredictedRow:
    return PredictedRow(
        figure=f"wait {name}",
        predicted_s=forecast if math.isfinite(forecast) else None,
        measured_s=measured,
    )


def calibration_of(result: Result) -> Calibration | None:
    """What a result gives a plan for another rate: its calibration, else its own figures."""
    return result.calibration or measured_calibration(result)


def service_samples(known: Calibration, most: int = 20_000) -> list[float]:
    """How long a slot is taken: service times drawn evenly, each with a turnaround (seconds)."""
    histogram = merge([known.service.hdr])
    total = histogram.get_total_count()
    step = max(1, total // most)
    samples: list[float] = []
    carried = 0
    for item in histogram.get_recorded_iterator():
        carried += item.count_at_value_iterated_to
        taken_s = item.value_iterated_to / 1e6 + known.turnaround_s
        samples += [taken_s] * (carried // step)
        carried %= step
    return samples
