"""The tasks that every peer runs: the same bodies, once for coroutines and once for threads."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.peers.clock import CLOCK
from benchmarks.peers.peer import COROUTINE

LOADED_S = 0.01
HANG_S = 600.0  # far beyond every wait for a second run


async def noop(value: float) -> None:
    """Be called, and nothing else."""
    CLOCK.tick()


async def stamped(value: float) -> None:
    """Note how long ago the producer began to push this."""
    CLOCK.picked_up(value)


async def loaded(value: float) -> None:
    """As `stamped`, and takes LOADED_S."""
    CLOCK.picked_up(value)
    await asyncio.sleep(LOADED_S)


async def wait(value: float) -> None:
    """Wait `value` seconds, as for a service; the clock counts calls."""
    CLOCK.tick()
    await asyncio.sleep(value)


async def mix(value: float) -> None:
    """Wait `value` seconds; the clock runs until the last one has ended."""
    CLOCK.begin()
    await asyncio.sleep(value)
    CLOCK.tock()


async def hang(value: float) -> None:
    """Note the start; never end in the first run, at once in the second."""
    if _note_start() == 1:
        await asyncio.sleep(HANG_S)


def noop_sync(value: float) -> None:
    """As `noop`."""
    CLOCK.tick()


def stamped_sync(value: float) -> None:
    """As `stamped`."""
    CLOCK.picked_up(value)


def wait_sync(value: float) -> None:
    """As `wait`."""
    CLOCK.tick()
    time.sleep(value)


def mix_sync(value: float) -> None:
    """As `mix`."""
    CLOCK.begin()
    time.sleep(value)
    CLOCK.tock()


def hang_sync(value: float) -> None:
    """As `hang`."""
    if _note_start() == 1:
        time.sleep(HANG_S)


def burn_sync(value: float) -> None:
    """Use `value` seconds of CPU; the clock counts ends."""
    began = time.thread_time()
    while time.thread_time() - began < value:
        pass
    CLOCK.tick()


def loaded_sync(value: float) -> None:
    """As `stamped`, and takes LOADED_S."""
    CLOCK.picked_up(value)
    time.sleep(LOADED_S)


def _note_start() -> int:
    """Append now to the file of starts; returns how many there are."""
    path = os.environ["CLOCK_OUT"] + ".starts"
    with open(path, "a") as file:
        file.write(f"{time.monotonic()!r}\n")
    with open(path) as file:
        return len(file.readlines())


ASYNC: dict[str, Callable[[float], Awaitable[None]]] = {
    "noop": noop,
    "stamped": stamped,
    "loaded": loaded,
    "wait": wait,
    "mix": mix,
    "hang": hang,
}
SYNC: dict[str, Callable[[float], None]] = {
    "noop": noop_sync,
    "stamped": stamped_sync,
    "loaded": loaded_sync,
    "wait": wait_sync,
    "mix": mix_sync,
    "hang": hang_sync,
    "burn": burn_sync,
}


def bodies(form: str) -> dict[str, Callable[[float], Any]]:
    """The handlers in this form."""
    return dict(ASYNC if form == COROUTINE else SYNC)
