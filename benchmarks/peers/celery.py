"""Celery: here its thread pool, in one process like the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import AT_LEAST_ONCE, PLAIN, PROCESS, Peer, url


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    pool = "prefork" if form == PROCESS else "threads"
    return [
        *(str(folder / "bin" / "celery"), "--app", "benchmarks.peers.celery:app", "--quiet"),
        *("worker", "--pool", pool, "--concurrency", str(slots), "--loglevel", "ERROR"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]


PEER = Peer(
    name="Celery",
    packages=("celery[redis]", "hiredis"),
    durability=f"{AT_LEAST_ONCE} (acks_late); a dead worker's tasks after visibility_timeout, 1 h",
    setup="thread pool (processes: prefork), acks_late, no results, no gossip, mingle or heartbeat",
    slots="threads",
    forms=(PLAIN, PROCESS),
    command=_command,
    drain_tasks=2_500,
)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    app, _ = _make_app()
    globals()["app"] = app
    return app


def _make_app() -> tuple[Any, dict[str, Any]]:
    from celery import Celery

    app = Celery("bench", broker=url())
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        worker_send_task_events=False,
    )
    return app, {kind: app.task(body, name=kind) for kind, body in work.SYNC.items()}


class _Producer:
    def __init__(self) -> None:
        self._app, self._tasks = _make_app()
        self._connection = self._app.connection_for_write()
        self._amqp = self._app.amqp.Producer(self._connection)

    async def one(self, kind: str, value: float) -> None:
        self._tasks[kind].delay(value)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for v in values:  # it has no bulk call: one producer for all
            self._tasks[kind].apply_async((v,), producer=self._amqp)

    async def close(self) -> None:
        self._connection.release()


async def open_producer() -> _Producer:
    """A producer."""
    return _Producer()
