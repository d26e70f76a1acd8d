"""The handlers of the measurements; each carries the clock that all task queues get."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.peers.clock import CLOCK
from taskrig import handler

CPU_S = 0.001  # what a cpu task costs


@handler("noop")
async def noop(data: Any) -> None:
    """Be called, and nothing else."""
    CLOCK.tick()


@handler("stamped")
async def stamped(data: Any) -> None:
    """Note how long ago the producer began to push this."""
    CLOCK.picked_up(data["sent"])


@handler("sleep10")
async def sleep10(data: Any) -> None:
    """Wait 10 ms, as for a quick service."""
    CLOCK.tick()
    await asyncio.sleep(0.01)


@handler("sleep_long")
async def sleep_long(data: Any) -> None:
    """Wait long enough that all slots fill."""
    CLOCK.tick()
    await asyncio.sleep(30)


@handler("cpu")
async def cpu(data: Any) -> None:
    """Cost a millisecond of CPU."""
    CLOCK.tick()
    until = time.thread_time() + CPU_S
    while time.thread_time() < until:
        pass


@handler("mix")
async def mix(data: Any) -> None:
    """Wait `data["s"]` seconds; the clock runs from the first one's start to the last one's end."""
    CLOCK.begin()
    await asyncio.sleep(data["s"])
    CLOCK.tock()
