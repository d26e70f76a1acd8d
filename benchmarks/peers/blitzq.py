"""BlitzQ: asyncio, a thread and a process pool, Redis streams with consumer groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import AT_LEAST_ONCE, COROUTINE, PLAIN, PROCESS, Peer, form, url


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    pool = {PLAIN: ["--threads", str(slots)], PROCESS: ["--processes", str(slots)]}
    return [
        *(str(folder / "bin" / "blitzq"), "worker", "benchmarks.peers.blitzq:app"),
        *("--concurrency", str(slots), "--log-level", "ERROR", *pool.get(form, [])),
    ]


PEER = Peer(
    name="BlitzQ",
    packages=("blitzq", "hiredis", "uvloop"),
    durability=f"{AT_LEAST_ONCE}; a dead worker's tasks after visibility_timeout (60 s)",
    setup='mode "reliable", store_results=False',
    slots="asyncio",
    forms=(COROUTINE, PLAIN, PROCESS),
    command=_command,
    drain_tasks=30_000,
    oldest_python=(3, 12),
)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    app, _ = _make_app()
    globals()["app"] = app
    return app


def _make_app() -> tuple[Any, dict[str, Any]]:
    from blitzq import Queue

    app: Any = Queue("bench", redis_url=url(), store_results=False)
    options: dict[str, Any] = {"executor": "process"} if form() == PROCESS else {}
    return app, {
        kind: app.task(name=kind, **options)(body) for kind, body in work.bodies(form()).items()
    }


class _Producer:
    def __init__(self) -> None:
        self._app, self._tasks = _make_app()

    async def one(self, kind: str, value: float) -> None:
        await self._tasks[kind].enqueue(value)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for start in range(0, len(values), 1000):
            await self._tasks[kind].enqueue_many([(v,) for v in values[start : start + 1000]])

    async def close(self) -> None:
        pass


async def open_producer() -> _Producer:
    """A producer in this event loop."""
    return _Producer()
