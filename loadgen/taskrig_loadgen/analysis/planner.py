"""How many slots, how many workers, what target for an autoscaler. Pure.

Waits come from the formula (Erlang C with a correction for the spread of service times);
end-to-end times from a simulation that draws the service times a run has measured. A simulation
of the wait stands beside the formula, as a check of one by the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from msgspec import Struct

from taskrig.errors import UsageError
from taskrig_loadgen.analysis.expectations import Expectation
from taskrig_loadgen.analysis.prediction import Prediction
from taskrig_loadgen.maths.queueing import Queue, simulate
from taskrig_loadgen.maths.stats import PERCENTILES, percentile

MAX_SLOTS = 100_000
SPARE = 0.9  # utilization that a plan without an SLO does not exceed
_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


class Plan(Struct, kw_only=True, omit_defaults=True):
    """The plan in numbers, for people and as JSON."""

    rate_per_s: float
    service_s: float
    service_cv2: float
    slots: int
    per_worker: int
    workers: int
    utilization: float
    pickup_s: float
    mean_wait_s: float
    wait_p99_s: float
    e2e_p99_s: float
    simulated_wait_p99_s: float
    slo_figure_s: float | None
    max_rate_per_s: float
    keda_target: int
    rate_on_measured_slots_per_s: float | None = None  # with an SLO
    measured_slots: int | None = None
    slo: str | None
    trust: Prediction | None


@dataclass(frozen=True, slots=True)
class Planned:
    """The least number of slots that holds, and what to expect with it."""

    queue: Queue
    figure_s: float | None  # of the SLO
    waits: list[float]  # simulated, rising
    totals: list[float]  # simulated end to end, rising

    def plan(self, per_worker: int, slo: Expectation | None, trust: Prediction | None) -> Plan:
        """The plan in numbers, for workers of `per_worker` slots.

        Args:
            trust: what was predicted of the run that the plan is made from.
        """
        queue = self.queue
        workers = math.ceil(queue.slots / per_worker)
        real = with_slots(queue, workers * per_worker)
        in_system = real.rate * (real.mean_wait_s + real.service_s)
        return Plan(
            rate_per_s=queue.rate,
            service_s=queue.service_s,
            service_cv2=queue.service_cv2,
            slots=queue.slots,
            per_worker=per_worker,
            workers=workers,
            utilization=real.utilization,
            pickup_s=queue.lag_s + queue.pickup_s,
            mean_wait_s=real.seen_mean_s,
            wait_p99_s=real.seen_wait_s(0.99),
            e2e_p99_s=percentile(self.totals, 0.99),
            simulated_wait_p99_s=percentile(self.waits, 0.99),
            slo_figure_s=self.figure_s,
            max_rate_per_s=real.slots / real.service_s,
            # Waiting and in flight per worker when all is well, but never more than its slots:
            # an autoscaler that adds workers above this does not wait for a backlog.
            keda_target=max(1, min(per_worker, math.ceil(in_system / workers))),
            slo=slo.text if slo else None,
            trust=trust,
        )


def with_slots(queue: Queue, slots: int) -> Queue:
    """The same load on another number of slots."""
    return replace(queue, slots=slots)


def check_slo(slo: Expectation) -> None:
    """Refuse what cannot be planned for; raises UsageError."""
    if slo.name not in ("wait", "e2e") or slo.op not in _HOLDS:
        raise UsageError(f"--slo {slo.text!r}: write an upper bound of wait or e2e, 'wait.p99<1s'")
    if slo.statistic not in ("mean", *PERCENTILES):
        raise UsageError(f"--slo {slo.text!r}: use mean or a percentile")
    if slo.type != "all":
        raise UsageError(f"--slo {slo.text!r}: a plan is for all types together; drop the label")


def figure_s(queue: Queue, slo: Expectation, services_s: Sequence[float]) -> float:
    """What the queue is expected to do in the figure that the SLO bounds (seconds)."""
    if not queue.stable:
        return math.inf
    if slo.name == "wait":
        if slo.statistic == "mean":
            return queue.seen_mean_s
        return queue.seen_wait_s(PERCENTILES[slo.statistic])
    _, totals = simulate(queue, services_s, count=20_000)
    if slo.statistic == "mean":
        return math.fsum(totals) / len(totals)
    return percentile(sorted(totals), PERCENTILES[slo.statistic])


def plan_slots(queue: Queue, slo: Expectation | None, services_s: Sequence[float]) -> Planned:
    """The fewest slots with which the queue keeps the SLO (or, without one, stays 90 % busy).

    Raises:
        UsageError: no number of slots can keep it, or more than MAX_SLOTS are needed.
    """

    def holds(slots: int) -> bool:
        trial = with_slots(queue, slots)
        if slo is None:
            return trial.utilization <= SPARE
        return _HOLDS[slo.op](figure_s(trial, slo, services_s), slo.bound)

    least = max(1, math.floor(queue.load) + 1)
    if least > MAX_SLOTS:  # before anything is simulated: each slot takes memory
        raise UsageError(
            f"--rate: {queue.rate:,.9g} tasks a second of {queue.service_s:.3g} s each keep "
            f"{queue.load:,.9g} slots busy; a plan goes up to {MAX_SLOTS:,}"
        )
    high = least
    while not holds(high):
        if high > MAX_SLOTS or (high > 4 * least + 100 and queue.utilization < 0.2):
            raise UsageError(
                f"no number of slots keeps {slo.text if slo else 'the load'!r}: the tasks "
                f"themselves take {queue.service_s:.3g} s on average"
            )
        high *= 2
    low = max(least - 1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    best = with_slots(queue, high)
    waits, totals = simulate(best, services_s, count=50_000)
    figure = figure_s(best, slo, services_s) if slo else None
    return Planned(best, figure, sorted(waits), sorted(totals))


def plan_rate(queue: Queue, slo: Expectation, services_s: Sequence[float]) -> float:
    """The highest rate that keeps the SLO on the queue's slots (tasks a second); 0 when none."""
    low, high = 0.0, queue.slots / queue.service_s
    for _ in range(40):
        middle = (low + high) / 2
        trial = replace(queue, rate=middle)
        if _HOLDS[slo.op](figure_s(trial, slo, services_s), slo.bound):
            low = middle
        else:
            high = middle
        if high - low < 1e-4 * high:
            break
    return low
