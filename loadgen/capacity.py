"""What a schedule or a queue should do in theory: list schedules, Erlang C, USL. Pure.

Sources: R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", 1969 (list schedules);
A. K. Erlang, 1917 (delay formula); A. O. Allen, "Probability, Statistics and Queueing Theory",
2nd ed., 1990, section 5.4 (the Allen-Cunneen approximation of G/G/c).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable


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
