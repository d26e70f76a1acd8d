"""Our handlers for the measured tasks; the same bodies as the peers' (see `work.py`)."""

from __future__ import annotations

from typing import Any

from benchmarks.peers import work
from benchmarks.peers.clock import CLOCK
from taskrig import handler


@handler("noop")
async def noop(data: Any) -> None:
    """Be called, and nothing else."""
    CLOCK.tick()


@handler("stamped")
async def stamped(data: Any) -> None:
    """Note how long ago the producer began to push this."""
    CLOCK.picked_up(data["value"])


@handler("wait")
async def wait(data: Any) -> None:
    """Wait, as for a service; the clock counts calls."""
    await work.wait(data["value"])


@handler("mix")
async def mix(data: Any) -> None:
    """Wait; the clock runs until the last one has ended."""
    await work.mix(data["value"])


@handler("hang")
async def hang(data: Any) -> None:
    """Never end in the first run, at once in the second."""
    await work.hang(data["value"])
