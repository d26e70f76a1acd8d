"""What a schedule or a queue should do in theory. Pure.

Sources: R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", 1969 (list schedules);
A. K. Erlang, 1917 (delay formula); A. O. Allen, "Probability, Statistics and Queueing Theory",
2nd ed., 1990, section 5.4 (Allen-Cunneen, G/G/c); G. P. Cosmetatos, 1976 (M/D/c); T. Kimura, "A
two-moment approximation for the mean waiting time in the GI/G/s queue", 1986; N. J. Gunther,
"Guerrilla Capacity Planning", 2007 (Universal Scalability Law).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def list_schedule_s(services_s: Iterable[float], slots: int) -> float:
    """Seconds that tasks taken in this order need on `slots` slots, with no overhead at all.

    Raises:
        ValueError: `slots` is less than 1.
    """
    if slots < 1:
        raise ValueError(f"slots must be at least 1, got {slots}")
    ends: list[float] = []
    for service_s in services_s:
        if len(ends) < slots:
            heapq.heappush(ends, service_s)
        else:
            heapq.heapreplace(ends, ends[0] + service_s)
    return max(ends, default=0.0)


def erlang_c(slots: int, load: float) -> float:
    """Probability that an arriving task must wait, in M/M/c with `load` = rate times service.

    1.0 when the load does not fit (load >= slots).
    """
    if load >= slots:
        return 1.0
    blocking = 1.0  # Erlang B by its recurrence: no factorial overflows
    for n in range(1, slots + 1):
        blocking = load * blocking / (n + load * blocking)
    share = load / slots
    return blocking / (1 - share + share * blocking)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with `slots` slots; times in seconds, squared coefficients of variation."""

    rate: float
    service_s: float
    service_cv2: float  # variance of service over its mean squared: 0 fixed, 1 exponential
    slots: int
    arrival_cv2: float = 1.0  # of the gaps between arrivals: 1 Poisson, 0 uniform
    lag_s: float = 0.0  # from the intended time to the queue: part of every wait seen
    pickup_s: float = 0.0  # from the queue to the start on a free slot: only who finds one pays it

    @property
    def load(self) -> float:
        """Slots that are busy on average (Erlangs)."""
        return self.rate * self.service_s

    @property
    def utilization(self) -> float:
        """Share of the slots that is busy; at 1 or more the backlog grows without bound."""
        return self.load / self.slots

    @property
    def stable(self) -> bool:
        """Whether the backlog stays bounded."""
        return self.utilization < 1

    @property
    def waits(self) -> float:
        """Probability that a task waits at all (Erlang C)."""
        return erlang_c(self.slots, self.load)

    @property
    def mean_wait_s(self) -> float:
        """Mean seconds between arrival and start; infinite when not stable."""
        if not self.stable:
            return math.inf
        exponential = self.waits * self.service_s / (self.slots - self.load)
        cv2 = self.service_cv2
        if self.arrival_cv2 != 1 or cv2 > 1:
            return exponential * (self.arrival_cv2 + cv2) / 2  # Allen-Cunneen
        fixed = exponential / 2 * (1 + self._cosmetatos())
        if cv2 == 0:
            return fixed
        return (1 + cv2) / (2 * cv2 / exponential + (1 - cv2) / fixed) if exponential else 0.0

    def _cosmetatos(self) -> float:
        """How much longer than half of M/M/c the wait of M/D/c is."""
        c, rho = self.slots, self.utilization
        return (1 - rho) * (c - 1) * (math.sqrt(4 + 5 * c) - 2) / (16 * c * rho) if rho else 0.0

    @property
    def seen_mean_s(self) -> float:
        """Mean wait as a run sees it: from the intended time to the start of the handler."""
        return self.lag_s + self.mean_wait_s + (1 - self.waits) * self.pickup_s

    def seen_wait_s(self, share: float) -> float:
        """Percentile of the wait as a run sees it."""
        return self.lag_s + max(self.wait_s(share), self.pickup_s)

    def wait_s(self, share: float) -> float:
        """Percentile of the wait (0.99 for p99): an exponential tail above Erlang C's chance."""
        if not self.stable:
            return math.inf
        waits = self.waits
        if waits <= 1 - share:
            return 0.0
        return self.mean_wait_s / waits * math.log(waits / (1 - share))


def simulate(
    queue: Queue, services_s: Sequence[float], *, count: int = 100_000, seed: int = 1
) -> tuple[list[float], list[float]]:
    """Waits and end-to-end times of `count` tasks with Poisson arrivals, first come first served.

    Args:
        services_s: service times to draw from, such as those a run has measured.
    """
    rng = random.Random(seed)
    free = [0.0] * queue.slots
    at, waits, totals = 0.0, [], []
    warm = count // 10
    for number in range(count + warm):
        at += rng.expovariate(queue.rate)
        service_s = rng.choice(services_s)
        begun = max(at, free[0])
        heapq.heapreplace(free, begun + service_s)
        if number >= warm:
            wait_s = begun - at if begun > at else queue.pickup_s
            waits.append(queue.lag_s + wait_s)
            totals.append(queue.lag_s + wait_s + service_s)
    return waits, totals


@dataclass(frozen=True, slots=True)
class Scaling:
    """Universal Scalability Law: rate(n) = single n / (1 + contention (n-1) + chatter n (n-1))."""

    single: float  # tasks a second with one slot
    contention: float  # share that is serial
    chatter: float  # cost of every pair of slots

    def rate(self, slots: float) -> float:
        """Tasks a second with this number of slots."""
        n = slots
        return self.single * n / (1 + self.contention * (n - 1) + self.chatter * n * (n - 1))

    @property
    def best_slots(self) -> float:
        """Where more slots make it slower; infinite when they never do."""
        if self.chatter <= 0:
            return math.inf
        return math.sqrt(max(1 - self.contention, 0) / self.chatter)


def fit_scaling(points: Sequence[tuple[float, float]]) -> Scaling:
    """The law through (slots, tasks a second), by least squares on slots over rate.

    Raises:
        ValueError: fewer than three different numbers of slots, or a rate that is not above 0.
    """
    if len({n for n, _ in points}) < 3 or any(rate <= 0 for _, rate in points):
        raise ValueError("needs at least three numbers of slots, each with a rate above 0")
    ys = [n / rate for n, rate in points]
    columns = [[1.0, n - 1, n * (n - 1)] for n, _ in points]
    for kept in ((0, 1, 2), (0, 1), (0, 2), (0,)):  # a negative cost means there is none
        solved = _least_squares([[row[k] for k in kept] for row in columns], ys)
        full = dict(zip(kept, solved, strict=True))
        if all(value >= -1e-12 for value in solved) and full[0] > 0:
            base = full[0]
            return Scaling(1 / base, max(full.get(1, 0), 0) / base, max(full.get(2, 0), 0) / base)
    raise ValueError("the points do not fit the law")  # unreachable: (0,) is a mean of positives


def _least_squares(rows: list[list[float]], ys: list[float]) -> list[float]:
    """Solve the normal equations by Gauss elimination with pivots."""
    size = len(rows[0])
    table = [
        [sum(row[i] * row[j] for row in rows) for j in range(size)]
        + [sum(row[i] * y for row, y in zip(rows, ys, strict=True))]
        for i in range(size)
    ]
    for i in range(size):
        pivot = max(range(i, size), key=lambda r: abs(table[r][i]))
        table[i], table[pivot] = table[pivot], table[i]
        if table[i][i] == 0:
            return [-1.0] * size
        for r in range(size):
            if r != i:
                factor = table[r][i] / table[i][i]
                table[r] = [a - factor * b for a, b in zip(table[r], table[i], strict=True)]
    return [table[i][size] / table[i][i] for i in range(size)]
