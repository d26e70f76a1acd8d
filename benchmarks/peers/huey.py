"""Huey: threads, BRPOP from a list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import AT_MOST_ONCE, PLAIN, PROCESS, Peer, url


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    kind = "process" if form == PROCESS else "thread"
    return [
        *(str(folder / "bin" / "huey_consumer"), "benchmarks.peers.huey.app"),
        *("--workers", str(slots), "--worker-type", kind, "--quiet", "--no-periodic"),
    ]


PEER = Peer(
    name="Huey",
    packages=("huey", "redis", "hiredis"),
    durability=AT_MOST_ONCE,
    setup="threads or processes, results=False, no periodic tasks",
    slots="threads",
    forms=(PLAIN, PROCESS),
    command=_command,
    drain_tasks=6_000,
)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    app, _ = _make_app()
    globals()["app"] = app
    return app


def _make_app() -> tuple[Any, dict[str, Any]]:
    from huey import RedisHuey

    app = RedisHuey("bench", url=url(), results=False)
    return app, {kind: app.task(name=kind)(body) for kind, body in work.SYNC.items()}


class _Producer:
    def __init__(self) -> None:
        self._app, self._tasks = _make_app()

    async def one(self, kind: str, value: float) -> None:
        self._tasks[kind](value)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for v in values:  # it has no bulk call
            self._tasks[kind](v)

    async def close(self) -> None:
        pass


async def open_producer() -> _Producer:
    """A producer."""
    return _Producer()
