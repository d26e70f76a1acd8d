"""This project's worker, as users get it, in an environment made like the peers'."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import AT_LEAST_ONCE, COROUTINE, PLAIN, PROCESS, Peer, url
from taskrig import __version__
from taskrig.keys import Keys

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
QUEUE = "bench"
OURS, OUR_VERSION = "taskrig", __version__
SETTINGS = ("log.tasks=none", "http.port=0", "handlers=[benchmarks.peers.handlers]")


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    settings = (*SETTINGS, f"worker.process_slots={slots}") if form == PROCESS else SETTINGS
    sets = [word for one in settings for word in ("--set", one)]
    return [
        *(str(folder / "bin" / "python"), "-m", "taskrig", "run", "--redis-url", url),
        *("--redis-key", QUEUE, "--max-concurrent", str(slots), *sets),
    ]


def _packages() -> tuple[str, ...]:
    """What the project depends on: by its sources where they are, else by its metadata."""
    if PROJECT.exists():
        return tuple(tomllib.loads(PROJECT.read_text())["project"]["dependencies"])
    return tuple(one for one in requires("taskrig") or () if "extra ==" not in one)


PEER = Peer(
    name=OURS,
    packages=_packages(),
    durability=f"{AT_LEAST_ONCE}; a dead worker's tasks within 2 leases (30 s)",
    setup="metrics and leases on; no log line a task",
    slots="asyncio",
    forms=(COROUTINE, PLAIN, PROCESS),
    command=_command,
    drain_tasks=200_000,
)


class _Producer:
    def __init__(self) -> None:
        from redis.asyncio import Redis

        self._redis: Any = Redis.from_url(url())
        self._key = Keys.of(QUEUE).queue

    async def one(self, kind: str, value: float) -> None:
        await self._redis.lpush(self._key, _item(kind, value))

    async def many(self, kind: str, values: Sequence[float]) -> None:
        for start in range(0, len(values), 1000):
            items = [_item(kind, v) for v in values[start : start + 1000]]
            await self._redis.lpush(self._key, *items)

    async def close(self) -> None:
        await self._redis.aclose()


def _item(kind: str, value: float) -> str:
    return json.dumps({"type": kind, "data": {"value": value}})


async def open_producer() -> _Producer:
    """A producer in this event loop."""
    return _Producer()
