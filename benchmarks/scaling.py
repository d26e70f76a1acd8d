"""How the rate of N workers grows against one Redis: a simulation. Pure.

A worker hands in a batch and claims the next one in one exchange. Redis executes one script at a
time, for all workers in turn; each worker then works on its batch on a core of its own. That is a
closed queue with one server, and it has a ceiling: the time that Redis needs for a task.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence


def rate_of_workers(
    workers: int,
    *,
    worker_us: float,
    server_us: float,
    batch: int = 50,
    exchanges: int = 4000,
    seed: int = 0,
) -> float:
    """Tasks a second of so many workers.

    Args:
        worker_us: time that a worker needs for a task, microseconds; its handler's too.
        server_us: time that Redis needs for a task, microseconds.
        batch: tasks in one exchange.
        exchanges: how many are simulated; the first tenth is left out.
        seed: of the times, which are exponential around their means.

    Raises:
        ValueError: a number that must be above 0 is not.
    """
    if min(workers, worker_us, server_us, batch, exchanges) <= 0:
        raise ValueError("workers, times, batch and exchanges must be above 0")
    chance = random.Random(seed)
    arrivals = [(chance.random() * worker_us * batch, n) for n in range(workers)]
    heapq.heapify(arrivals)
    free_at, warm, warm_at = 0.0, exchanges // 10, 0.0
    for number in range(exchanges):
        asked_at, worker = heapq.heappop(arrivals)
        free_at = max(free_at, asked_at) + chance.expovariate(1 / (server_us * batch))
        if number == warm:
            warm_at = free_at
        heapq.heappush(arrivals, (free_at + chance.expovariate(1 / (worker_us * batch)), worker))
    return (exchanges - 1 - warm) * batch / (free_at - warm_at) * 1e6


def curve(
    counts: Sequence[int], *, worker_us: float, server_us: float, batch: int = 50
) -> list[tuple[float, float]]:
    """(workers, tasks a second) for each number of workers."""
    return [
        (n, rate_of_workers(n, worker_us=worker_us, server_us=server_us, batch=batch))
        for n in counts
    ]
