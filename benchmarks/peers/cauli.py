"""cauli: a Rust worker with Python inside; coroutines, threads and forked children."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import AT_LEAST_ONCE, COROUTINE, PLAIN, PROCESS, Peer, form, url

CHUNK = 1000


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    return [
        *(str(folder / "bin" / "cauli-worker"), "--app", "benchmarks.peers.cauli:app"),
        *("--redis-url", url, "--procs", "1", "--log-level", "error"),
        *("--io-threads", str(slots), "--io-concurrency", str(slots)),
        *("--cpu-workers", str(slots) if form == PROCESS else "1"),
    ]


PEER = Peer(
    name="cauli (Rust worker)",
    packages=("cauli",),
    durability=f"{AT_LEAST_ONCE}; a dead worker's tasks after visibility-timeout (60 s)",
    setup="one process, io-threads and io-concurrency = slots, store_result=False",
    slots="asyncio",
    forms=(COROUTINE, PLAIN, PROCESS),
    command=_command,
    drain_tasks=100_000,
)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    app, _ = _make_app()
    globals()["app"] = app
    return app


def _make_app() -> tuple[Any, dict[str, Any]]:
    from cauli import Cauli

    app: Any = Cauli(redis_url=url(), default_queue="bench")
    task = app.task
    kind_of = "cpu" if form() == PROCESS else "io"
    return app, {
        kind: task(name=kind, kind=kind_of, store_result=False)(body)
        for kind, body in work.bodies(form()).items()
    }


class _Producer:
    def __init__(self) -> None:
        self._app, self._tasks = _make_app()

    async def one(self, kind: str, value: float) -> None:
        await self._tasks[kind].adelay(value)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for start in range(0, len(values), CHUNK):
            calls = [(self._tasks[kind], (v,)) for v in values[start : start + CHUNK]]
            self._app.enqueue_many(calls)

    async def close(self) -> None:
        pass


async def open_producer() -> _Producer:
    """A producer in this event loop."""
    return _Producer()
