"""Dramatiq: threads, a Redis list with acknowledgement by script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import AT_LEAST_ONCE, COROUTINE, PLAIN, PROCESS, Peer, form, url


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    processes, threads = (str(slots), "1") if form == PROCESS else ("1", str(slots))
    return [
        *(str(folder / "bin" / "dramatiq"), "benchmarks.peers.dramatiq:broker"),
        *("--processes", processes, "--threads", threads, "--skip-logging"),
    ]


PEER = Peer(
    name="Dramatiq",
    packages=("dramatiq[redis]", "hiredis"),
    durability=f"{AT_LEAST_ONCE}; a dead worker's tasks after heartbeat_timeout (60 s), by chance",
    setup="no Prometheus middleware; coroutines with its AsyncIO middleware",
    slots="threads",
    forms=(PLAIN, COROUTINE, PROCESS),
    command=_command,
    drain_tasks=8_000,
)


def __getattr__(name: str) -> Any:
    if name != "broker":
        raise AttributeError(name)
    broker, _ = _make_broker()
    globals()["broker"] = broker
    return broker


def _make_broker() -> tuple[Any, dict[str, Any]]:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=url())
    if form() == COROUTINE:
        from dramatiq.middleware.asyncio import AsyncIO

        broker.add_middleware(AsyncIO())
    dramatiq.set_broker(broker)
    actors = {
        kind: dramatiq.actor(body, actor_name=kind, broker=broker)
        for kind, body in work.bodies(form()).items()
    }
    return broker, actors


class _Producer:
    def __init__(self) -> None:
        self._broker, self._actors = _make_broker()

    async def one(self, kind: str, value: float) -> None:
        self._actors[kind].send(value)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for v in values:  # it has no bulk call
            self._actors[kind].send(v)

    async def close(self) -> None:
        self._broker.close()


async def open_producer() -> _Producer:
    """A producer."""
    return _Producer()
