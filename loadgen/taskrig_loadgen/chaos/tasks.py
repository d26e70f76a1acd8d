"""What the workers of `loadgen chaos` run: handlers of every form."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import time
from typing import Any

from taskrig import handler

SHORT_S = (0.005, 0.1)
LONG_S = (0.5, 1.5)


@handler("quick")
async def quick(data: Any) -> None:
    """End at once."""


@handler("short")
async def short(data: Any) -> None:
    """Take up to 0.1 s."""
    await asyncio.sleep(random.uniform(*SHORT_S))


@handler("long")
async def long(data: Any) -> None:
    """Take about a second."""
    await asyncio.sleep(random.uniform(*LONG_S))


@handler("plain")
def plain(data: Any) -> None:
    """Hold a thread for up to 0.1 s."""
    time.sleep(random.uniform(*SHORT_S))


@handler("process", run_in="process")
def process(data: Any) -> None:
    """Hold a process for up to 0.1 s."""
    time.sleep(random.uniform(*SHORT_S))


@handler("batch", batch=20, linger_s=0.05)
async def batch(tasks: list[Any]) -> None:
    """Up to 20 at once, which take up to 0.1 s together."""
    await asyncio.sleep(random.uniform(*SHORT_S))


@handler("forks")
async def forks(data: Any) -> None:
    """Wait for a child of its own for about a second, however that child ends."""
    lives_s = random.uniform(*LONG_S)
    if random.random() < 0.5:
        await asyncio.to_thread(_use_a_process, lives_s)
    elif pid := os.fork():
        await asyncio.to_thread(os.waitpid, pid, 0)
    else:
        time.sleep(lives_s)  # noqa: ASYNC251  # the child, which then leaves the handler


def _use_a_process(lives_s: float) -> None:
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(lives_s,))
    process.start()
    process.join(10)
    process.kill()  # should it have been forked while another thread held a lock
    process.join()
