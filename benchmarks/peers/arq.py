"""arq: asyncio, jobs in keys, their order in a sorted set that workers poll."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import AT_LEAST_ONCE, COROUTINE, Peer, inside, slots, url

POLL_S = 0.01

PEER = Peer(
    name="arq",
    packages=("arq", "hiredis", "uvloop"),
    durability=f"{AT_LEAST_ONCE}; a dead worker's jobs after job_timeout + 10 s (310 s)",
    setup=f"keep_result=0, poll_delay={POLL_S} s (default 0.5), uvloop",
    slots="asyncio",
    forms=(COROUTINE,),
    command=inside("arq"),
    drain_tasks=4_000,
)


def run_worker() -> None:
    """Work until ended."""
    from arq.connections import RedisSettings
    from arq.worker import Worker, func

    asyncio.set_event_loop(asyncio.new_event_loop())
    functions = [func(_with_context(body), name=kind) for kind, body in work.ASYNC.items()]
    Worker(
        functions=functions,
        redis_settings=RedisSettings.from_dsn(url()),
        max_jobs=slots(),
        keep_result=0,
        poll_delay=POLL_S,
    ).run()


def _with_context(body: Callable[[float], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def task(_context: dict[Any, Any], value: float) -> None:
        await body(value)

    return task


class _Producer:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def one(self, kind: str, value: float) -> None:
        await self._pool.enqueue_job(kind, value)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for start in range(0, len(values), 50):  # it has no bulk call: 50 side by side
            some = values[start : start + 50]
            await asyncio.gather(*(self._pool.enqueue_job(kind, v) for v in some))

    async def close(self) -> None:
        await self._pool.aclose()


async def open_producer() -> _Producer:
    """A producer in this event loop."""
    from arq import create_pool
    from arq.connections import RedisSettings

    return _Producer(await create_pool(RedisSettings.from_dsn(url())))
