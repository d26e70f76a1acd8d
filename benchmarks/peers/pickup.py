"""Pushing at a steady, slow rate, each task stamped with the moment just before its push."""

from __future__ import annotations

import time
from collections.abc import Callable


def push_stamped(push: Callable[[float], object], count: int, per_s: float) -> None:
    """Call `push(now)` `count` times, `per_s` times a second, on a schedule fixed beforehand.

    `now` is `time.monotonic()`, which all processes of a host share.
    """
    start = time.monotonic()
    for n in range(count):
        due = start + n / per_s
        while (left_s := due - time.monotonic()) > 0:
            time.sleep(left_s)
        push(time.monotonic())
