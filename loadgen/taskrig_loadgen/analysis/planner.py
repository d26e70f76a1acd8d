"""How many workers of which size, and what to expect of them. Pure.

Waits come from the formula (Erlang C with a correction for the spread of service times);
end-to-end times from a simulation that draws the service times a run has measured.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from msgspec import Struct

from taskrig.errors import UsageError
from taskrig_loadgen.analysis.expectations import Expectation
from taskrig_loadgen.analysis.prediction import Prediction
from taskrig_loadgen.maths.queueing import Queue, simulate
from taskrig_loadgen.maths.stats import PERCENTILES, percentile
from taskrig_loadgen.quantity import show_rate
from taskrig_loadgen.result.model import Calibration

MAX_SLOTS = 100_000
SPARE = 0.9  # utilization that nothing planned exceeds, not even with one worker lost
HEADROOM = 0.7  # share of slots, and of a core, that is busy where nothing else is asked for
SIZES = (5, 10, 20, 50, 100)  # slots of a worker
FEW = 100  # tasks measured; a plan from fewer is a range
FAR = 3.0  # times the measured rate, or a part of it: another load than was measured
BOOTSTRAPS = 200
MOST_DRAWN = 1000
_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


class Loss(Struct, kw_only=True):
    """The same load with one worker less; null: the backlog grows without end."""

    utilization: float
    wait_p99_s: float | None
    holds: bool


class PlanRow(Struct, kw_only=True):
    """The fewest workers of one size that keep everything asked for, and what to expect then."""

    per_worker: int
    workers: int
    slots: int
    utilization: float
    wait_p50_s: float
    wait_p99_s: float
    max_rate_per_s: float
    one_lost: Loss
    cpu_per_worker: float | None  # cores that a worker keeps busy; null: was not measured
    memory_bytes: int | None  # of all workers together
    keda_target: int
    bound_by: str  # what this number of workers is needed for


class Plan(Struct, kw_only=True):
    """The plan in numbers, for people and as JSON."""

    rate_per_s: float
    slo: str | None
    headroom: float
    service_s: float
    service_cv2: float
    samples: int
    least_slots: int  # that keep the SLO (or stay 90 % busy), with nothing in reserve
    rows: list[PlanRow]
    recommended: PlanRow
    why: str
    rate_on_measured_slots_per_s: float | None = None  # with an SLO
    measured_slots: int
    warnings: list[str] = []
    workers_range: tuple[int, int] | None = None  # where there is a warning: 5 % to 95 %
    trust: Prediction | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a plan.

    Args:
        queue: the load, on any number of slots.
        services_s: how long a slot is taken, to draw from.
        headroom: most of the slots, and of a core, that may be busy.
        cpu_s: CPU of one task, in seconds; None: not measured.
        memory_bytes: of one worker.
    """

    queue: Queue
    slo: Expectation | None
    services_s: Sequence[float]
    headroom: float = HEADROOM
    cpu_s: float | None = None
    memory_bytes: int | None = None

    def at(self, rate: float) -> Demand:
        """The same at another rate."""
        return replace(self, queue=replace(self.queue, rate=rate))

    def holds(self, slots: int) -> bool:
        """Whether this number of slots meets the SLO; without one, that the backlog is bounded."""
        trial = with_slots(self.queue, slots)
        if self.slo is None:
            return trial.stable
        return _HOLDS[self.slo.op](figure_s(trial, self.slo, self.services_s), self.slo.bound)

    def row(self, per_worker: int, least: int | None = None) -> PlanRow:
        """The fewest workers of this size.

        Each stays below the headroom, in slots and in CPU, and the rest keep the SLO when one
        worker is lost.

        Args:
            least: what `least_slots` says of this demand, where it is known.
        """
        queue, least = self.queue, least_slots(self) if least is None else least
        # A tenth of them free: above that waits are a lottery.
        least = max(least, math.ceil(queue.load / SPARE - 1e-9))
        lost = "the SLO with one worker lost" if self.slo else "one worker lost"
        needs = {
            "the headroom": queue.load / (self.headroom * per_worker),
            "CPU: one core is all that a worker has": queue.rate
            * (self.cpu_s or 0)
            / self.headroom,
            lost: 1 + least / per_worker,
        }
        bound_by = max(needs, key=lambda name: math.ceil(needs[name] - 1e-9))
        workers = max(1, math.ceil(needs[bound_by] - 1e-9))
        real = with_slots(queue, workers * per_worker)
        rest = with_slots(queue, (workers - 1) * per_worker)
        return PlanRow(
            per_worker=per_worker,
            workers=workers,
            slots=real.slots,
            utilization=real.utilization,
            wait_p50_s=real.seen_wait_s(0.5),
            wait_p99_s=real.seen_wait_s(0.99),
            max_rate_per_s=self._most(real, workers),
            one_lost=Loss(
                utilization=rest.utilization,
                wait_p99_s=rest.seen_wait_s(0.99) if rest.stable else None,
                holds=rest.utilization <= SPARE and self.holds(rest.slots),
            ),
            cpu_per_worker=None if self.cpu_s is None else queue.rate * self.cpu_s / workers,
            memory_bytes=None if self.memory_bytes is None else workers * self.memory_bytes,
            keda_target=keda_target(per_worker, self.headroom),
            bound_by=bound_by,
        )

    def _most(self, queue: Queue, workers: int) -> float:
        """Maximum sustainable rate in tasks a second, by slots and by CPU."""
        return min(queue.slots / queue.service_s, workers / self.cpu_s if self.cpu_s else math.inf)


def keda_target(per_worker: int, headroom: float) -> int:
    """Tasks waiting + in flight for each worker, as operations.md says it.

    With the whole of a worker's slots an autoscaler would take away the headroom.
    """
    return max(1, math.floor(per_worker * headroom + 1e-9))


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


def least_slots(demand: Demand) -> int:
    """The fewest slots with which the queue keeps the SLO (or, without one, stays 90 % busy).

    Raises:
        UsageError: no number of slots can keep it, or more than MAX_SLOTS are needed.
    """
    queue, slo = demand.queue, demand.slo

    def holds(slots: int) -> bool:
        if slo is None:
            return with_slots(queue, slots).utilization <= SPARE
        return demand.holds(slots)

    least = max(1, math.floor(queue.load) + 1)
    if least > MAX_SLOTS:  # before anything is simulated: each slot takes memory
        raise UsageError(
            f"--rate: {queue.rate:,.9g} tasks a second of {queue.service_s:.3g} s each keep "
            f"{queue.load:,.9g} slots busy; a plan goes up to {MAX_SLOTS:,}"
        )
    high = least
    while not holds(high):
        if high > MAX_SLOTS or (high > 4 * least + 100 and queue.load < 0.2 * high):
            raise UsageError(
                f"no number of slots keeps {slo.text if slo else 'the load'!r}: the tasks "
                f"themselves take {queue.service_s:.3g} s on average"
            )
        high *= 2
    low = max(least - 1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def make_plan(demand: Demand, sizes: Sequence[int], known: Calibration) -> Plan:
    """Rows for workers of these sizes, and the one to take: that with the fewest workers.

    A worker is a process with its memory, a slot next to nothing; of equal rows the one with the
    fewest slots. Warnings come with a range instead of false precision.

    Raises:
        UsageError: no number of slots can keep the SLO, or more than MAX_SLOTS are needed.
    """
    least = least_slots(demand)  # once: it may simulate
    rows = [demand.row(size, least) for size in sizes]
    best = min(rows, key=lambda row: (row.workers, row.slots))
    warnings = _warnings(demand.queue.rate, known)
    return Plan(
        rate_per_s=demand.queue.rate,
        slo=demand.slo.text if demand.slo else None,
        headroom=demand.headroom,
        service_s=demand.queue.service_s,
        service_cv2=demand.queue.service_cv2,
        samples=known.tasks,
        least_slots=least,
        rows=rows,
        recommended=best,
        why=f"the fewest workers, then slots, of these rows; {best.bound_by} needs this number",
        measured_slots=known.slots,
        warnings=warnings,
        workers_range=_range(demand, best.per_worker, known.tasks) if warnings else None,
    )


def _warnings(rate: float, known: Calibration) -> list[str]:
    found = []
    if known.tasks < FEW:
        found.append(
            f"only {known.tasks:,} tasks were measured: their mean and spread may be others; "
            f"measure at least {FEW:,}"
        )
    measured = known.rate_per_s
    if measured and not 1 / FAR <= rate / measured <= FAR:
        found.append(
            f"measured at {show_rate(measured)}, planned for {show_rate(rate)}: handlers may take "
            "longer under another load; measure closer to it"
        )
    return found


def _range(demand: Demand, per_worker: int, tasks: int) -> tuple[int, int]:
    """Workers that the same plan asks for, of 90 % of samples that might have been drawn instead.

    Means are taken as the formula takes them; with few samples that is where a plan errs.
    """
    rng = random.Random(1)
    drawn = []
    for _ in range(BOOTSTRAPS):
        services = rng.choices(demand.services_s, k=min(tasks, MOST_DRAWN))
        mean = statistics.fmean(services)
        cv2 = statistics.pvariance(services, mean) / mean**2
        queue = replace(demand.queue, service_s=mean, service_cv2=cv2)
        try:
            trial = replace(demand, queue=queue, services_s=services)
            drawn.append(trial.row(per_worker).workers)
        except UsageError:  # nothing keeps the SLO with these
            drawn.append(MAX_SLOTS // per_worker)
    drawn.sort()
    return drawn[BOOTSTRAPS // 20], drawn[-BOOTSTRAPS // 20 - 1]


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
