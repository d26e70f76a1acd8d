"""What the workers of `loadgen chaos` run: named in their config as one function for every type."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import time
from typing import Any

SHORT_S = (0.005, 0.1)
LONG_S = (0.5, 1.5)


async def handle(task_type: str, data: Any) -> None:
    """`quick` ends at once, `short` within 0.1 s, `long` takes about a second.

    `forks` waits for a child of its own for about a second, however that child ends.
    """
    if task_type == "short":
        await asyncio.sleep(random.uniform(*SHORT_S))
    elif task_type == "long":
        await asyncio.sleep(random.uniform(*LONG_S))
    elif task_type == "forks":
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
