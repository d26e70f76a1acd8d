"""ArdiQ: asyncio tasks, everything else in Rust; Redis streams with consumer groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import AT_LEAST_ONCE, COROUTINE, Peer, slots, url


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    return [str(folder / "bin" / "ardiq"), "run", "--quiet", "benchmarks.peers.ardiq:app"]


PEER = Peer(
    name="ArdiQ (Rust core)",
    packages=("ardiq",),
    durability=f"{AT_LEAST_ONCE}; a dead worker's tasks after idle_timeout (60 s)",
    setup="result_ttl_ms=0 (no results kept)",
    slots="asyncio",
    forms=(COROUTINE,),
    command=_command,
    drain_tasks=30_000,
    oldest_python=(3, 12),
)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    app, _ = _make_app(slots())
    globals()["app"] = app
    return app


def _make_app(concurrency: int) -> tuple[Any, dict[str, Any]]:
    from ardiq import Ardiq

    app: Any = Ardiq(redis_url=url(), queue_name="bench", concurrency=concurrency, result_ttl_ms=0)
    return app, {kind: app.task(name=kind)(body) for kind, body in work.ASYNC.items()}


class _Producer:
    def __init__(self, app: Any, tasks: dict[str, Any]) -> None:
        self._app, self._tasks = app, tasks

    async def one(self, kind: str, value: float) -> None:
        await self._tasks[kind].enqueue(value)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for start in range(0, len(values), 1000):
            some = values[start : start + 1000]
            await self._app.enqueue_many([self._tasks[kind].prepare(v) for v in some])

    async def close(self) -> None:
        pass


async def open_producer() -> _Producer:
    """A producer in this event loop."""
    return _Producer(*_make_app(1))
