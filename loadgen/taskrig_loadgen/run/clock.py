"""One clock for a whole run: the Redis server's, known from this process's monotonic clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

PROBES = 20


@dataclass(frozen=True, slots=True)
class Offset:
    """Server time (Unix seconds) minus `time.perf_counter()`, and how wrong it can be."""

    seconds: float
    error_s: float  # half the smallest round trip: the true offset is within this

    def server_time(self, counter: float) -> float:
        """Unix seconds on the server's clock at a `perf_counter` reading."""
        return counter + self.seconds


async def measure_offset(client: Any, probes: int = PROBES) -> Offset:
    """Ask TIME `probes` times and keep the answer with the smallest round trip.

    Raises:
        RedisError, OSError: the server does not answer.
    """
    best: Offset | None = None
    for _ in range(probes):
        before = time.perf_counter()
        seconds, microseconds = await client.time()
        after = time.perf_counter()
        middle, half = (before + after) / 2, (after - before) / 2
        if best is None or half < best.error_s:
            best = Offset(seconds + microseconds / 1e6 - middle, half)
    assert best is not None  # probes is at least 1
    return best


def drift_s(start: Offset, end: Offset) -> float:
    """Seconds the two clocks moved apart between two measurements."""
    return end.seconds - start.seconds
