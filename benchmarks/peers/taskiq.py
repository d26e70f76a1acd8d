"""Taskiq: asyncio, here on a Redis stream with acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import AT_LEAST_ONCE, COROUTINE, PLAIN, PROCESS, Peer, form, url


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    pool = {
        COROUTINE: ["--max-threadpool-threads", "2"],
        PLAIN: ["--max-threadpool-threads", str(slots)],
        PROCESS: ["--use-process-pool", "--max-process-pool-processes", str(slots)],
    }
    return [
        *(str(folder / "bin" / "taskiq"), "worker", "benchmarks.peers.taskiq:broker"),
        *("--workers", "1", "--max-async-tasks", str(slots), "--max-prefetch", str(slots)),
        *("--log-level", "ERROR", *pool[form]),
    ]


PEER = Peer(
    name="Taskiq",
    packages=("taskiq", "taskiq-redis", "hiredis", "orjson", "uvloop"),
    durability=f"{AT_LEAST_ONCE} (stream broker); a dead worker's tasks after 10 minutes idle",
    setup="RedisStreamBroker, ORJSON, no results, prefetch = slots, uvloop",
    slots="asyncio",
    forms=(COROUTINE, PLAIN, PROCESS),
    command=_command,
    drain_tasks=8_000,
)


def __getattr__(name: str) -> Any:
    if name != "broker":
        raise AttributeError(name)
    broker = globals()["broker"] = _make_broker()
    return broker


def _make_broker() -> Any:
    from taskiq.serializers import ORJSONSerializer
    from taskiq_redis import RedisStreamBroker

    broker = RedisStreamBroker(url()).with_serializer(ORJSONSerializer())
    for kind, body in work.bodies(form()).items():
        broker.register_task(body, task_name=kind)
    return broker


class _Producer:
    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self._tasks = {kind: broker.find_task(kind) for kind in work.bodies(form())}

    async def one(self, kind: str, value: float) -> None:
        await self._tasks[kind].kiq(value)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for start in range(0, len(values), 50):  # it has no bulk call: 50 side by side
            some = values[start : start + 50]
            await asyncio.gather(*(self._tasks[kind].kiq(v) for v in some))

    async def close(self) -> None:
        await self._broker.shutdown()


async def open_producer() -> _Producer:
    """A producer in this event loop."""
    broker = _make_broker()
    await broker.startup()
    return _Producer(broker)
