"""SAQ: asyncio, BLMOVE from a queued to an active list."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import AT_LEAST_ONCE, COROUTINE, Peer, inside, slots, url

PEER = Peer(
    name="SAQ",
    packages=("saq[redis,hiredis]", "typing-extensions", "uvloop"),
    durability=f"{AT_LEAST_ONCE} (retries > 1); swept each minute past the job's timeout (10 s)",
    setup="ttl=-1 (no results kept), retries=3, uvloop",
    slots="asyncio",
    forms=(COROUTINE,),
    command=inside("saq"),
    drain_tasks=4_000,
)


def run_worker() -> None:
    """Work until ended."""
    from saq import Queue, Worker

    async def serve() -> None:
        queue = Queue.from_url(url())
        functions = [(kind, _with_context(body)) for kind, body in work.ASYNC.items()]
        await Worker(queue, functions=functions, concurrency=slots()).start()

    asyncio.run(serve())


def _with_context(body: Callable[[float], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def task(_context: Any, *, value: float) -> None:
        await body(value)

    return task


class _Producer:
    def __init__(self, queue: Any) -> None:
        self._queue = queue

    async def one(self, kind: str, value: float) -> None:
        await self._queue.enqueue(kind, value=value, ttl=-1, retries=3)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for start in range(0, len(values), 50):  # it has no bulk call: 50 side by side
            await asyncio.gather(*(self.one(kind, v) for v in values[start : start + 50]))

    async def close(self) -> None:
        await self._queue.disconnect()


async def open_producer() -> _Producer:
    """A producer in this event loop."""
    from saq import Queue

    queue = Queue.from_url(url())
    await queue.connect()
    return _Producer(queue)
