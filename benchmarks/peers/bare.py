"""No queue at all: bare processes that share the calls. What a task queue's processes can reach."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence

from benchmarks.peers import work
from benchmarks.peers.peer import PROCESS, Peer, inside, slots

BURN_S = 0.001

PEER = Peer(
    name="bare processes, no queue",
    packages=("redis",),
    durability="none",
    setup="each process calls the function for its share of the tasks",
    slots="one at a time",
    forms=(PROCESS,),
    command=inside("bare"),
    drain_tasks=1,
)


def run_worker() -> None:
    """Call the function as often as tasks are expected, in as many processes as slots."""
    share = int(os.environ["CLOCK_EXPECT"]) // slots()
    context = multiprocessing.get_context("fork")
    for one in [context.Process(target=_call, args=(share,)) for _ in range(slots())]:
        one.start()


def _call(times: int) -> None:
    for _ in range(times):
        work.burn_sync(BURN_S)


class _Producer:
    async def one(self, kind: str, value: float) -> None:
        """Nothing: there is no queue."""

    async def many(self, kind: str, values: Sequence[float]) -> None:
        """Nothing: there is no queue."""

    async def close(self) -> None:
        """Nothing."""


async def open_producer() -> _Producer:
    """A producer of nothing."""
    return _Producer()
