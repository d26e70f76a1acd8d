"""streaQ: asyncio, priority streams with consumer groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import AT_LEAST_ONCE, COROUTINE, Peer, slots, url


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    return [str(folder / "bin" / "streaq"), "run", "benchmarks.peers.streaq:worker"]


PEER = Peer(
    name="streaQ",
    packages=("streaq", "uvloop"),
    durability=f"{AT_LEAST_ONCE}; a dead worker's tasks after idle_timeout (60 s)",
    setup="ttl=0 (no results kept), uvloop",
    slots="asyncio",
    forms=(COROUTINE,),
    command=_command,
    drain_tasks=2_500,
)


def __getattr__(name: str) -> Any:
    if name != "worker":
        raise AttributeError(name)
    worker, _ = _make_worker(slots())
    globals()["worker"] = worker
    return worker


def _make_worker(concurrency: int) -> tuple[Any, dict[str, Any]]:
    import logging

    from streaq import Worker

    logging.getLogger("streaq").setLevel(logging.ERROR)
    worker: Any = Worker(
        redis_url=url(), concurrency=concurrency, anyio_kwargs={"use_uvloop": True}
    )
    tasks = {kind: worker.task(ttl=0, name=kind)(body) for kind, body in work.ASYNC.items()}
    return worker, tasks


class _Producer:
    def __init__(self, worker: Any, tasks: dict[str, Any]) -> None:
        self._worker, self._tasks = worker, tasks

    async def one(self, kind: str, value: float) -> None:
        await self._tasks[kind].enqueue(value)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for start in range(0, len(values), 1000):
            some = values[start : start + 1000]
            await self._worker.enqueue_many([self._tasks[kind].enqueue(v) for v in some])

    async def close(self) -> None:
        await self._worker.__aexit__(None, None, None)


async def open_producer() -> _Producer:
    """A producer in this event loop."""
    worker, tasks = _make_worker(1)
    await worker.__aenter__()
    return _Producer(worker, tasks)
