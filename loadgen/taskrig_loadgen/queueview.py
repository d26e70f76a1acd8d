"""What Redis says about the queue and its workers right now; reads only, bounded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from taskrig.broker.stride import Stride
from taskrig.keys import Keys

SLICE = 1000  # most entries read at a time


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker whose lease is alive."""

    id: str
    host: str
    pid: int
    concurrency: int
    running: int
    cpu_s: float | None = None  # of its process so far; None: it does not say
    memory_bytes: int = 0  # the most its process had so far


@dataclass(frozen=True, slots=True)
class QueueView:
    """Depths, totals and live workers at one moment (Redis TIME, Unix seconds)."""

    at: float
    waiting: int
    in_flight: int
    delayed: int
    dead_letters: int
    paused: bool
    totals: dict[str, int]
    workers: tuple[Worker, ...] = field(default=())

    @property
    def concurrency(self) -> int:
        """Slots of all live workers together."""
        return sum(worker.concurrency for worker in self.workers)

    @property
    def done(self) -> int:
        """Tasks that have ended, ever: succeeded, failed, invalid or dead."""
        return sum(self.totals.get(name, 0) for name in ("succeeded", "failed", "invalid", "dead"))


async def look(client: Any, keys: Keys) -> QueueView:
    """Read the whole view in one round trip (held types and further lists, if any, in a second).

    Raises:
        RedisError, OSError: Redis does not answer, or a key has another type.
    """
    pipe = client.pipeline(transaction=False)
    pipe.time()
    pipe.llen(keys.queue)
    pipe.llen(keys.arrivals)
    pipe.llen(keys.redeliver)
    pipe.hlen(keys.inflight)
    pipe.zcard(keys.delayed)
    pipe.xlen(keys.dead)
    pipe.exists(keys.paused)
    pipe.hgetall(keys.stats)
    pipe.zrange(keys.workers, 0, -1, withscores=True)
    pipe.hgetall(keys.about)
    pipe.smembers(keys.held)
    pipe.smembers(keys.lists)
    (
        now,
        queued,
        arrived,
        again,
        flying,
        delayed,
        dead,
        paused,
        stats,
        leases,
        about,
        held_names,
        list_names,
    ) = await pipe.execute()
    further = _further(keys, held_names, list_names)
    held = await _lengths(client, further) if further else 0
    at = now[0] + now[1] / 1e6
    alive = [name for name, deadline_ms in leases if deadline_ms > at * 1000]
    return QueueView(
        at=at,
        waiting=queued + arrived + again + held,
        in_flight=flying,
        delayed=delayed,
        dead_letters=dead,
        paused=bool(paused),
        totals={name.decode(): int(value) for name, value in stats.items()},
        workers=tuple(_worker(name.decode(), about.get(name)) for name in alive),
    )


async def _lengths(client: Any, lists: Iterable[str]) -> int:
    pipe = client.pipeline(transaction=False)
    for key in lists:
        pipe.llen(key)
    return sum(await pipe.execute())


async def further_lists(client: Any, keys: Keys) -> list[str]:
    """Where else tasks wait: held back by limits of their types, and in a queue's other lists."""
    return _further(keys, await client.smembers(keys.held), await client.smembers(keys.lists))


def _further(keys: Keys, held: Iterable[bytes], lists: Iterable[bytes]) -> list[str]:
    others = sorted({name.decode() for name in lists} - {keys.queue})
    return [
        *sorted(keys.held_of(name.decode()) for name in held),
        *(key for name in others for key in (keys.arrivals_of(name), name)),
    ]


def _worker(name: str, raw: bytes | None) -> Worker:
    try:
        about = json.loads(raw or b"{}")
        return Worker(
            id=name,
            host=str(about.get("host", "?")),
            pid=int(about.get("pid", 0)),
            concurrency=int(about.get("concurrency", 0)),
            running=int(about.get("running_total", len(about.get("running", ())))),
            cpu_s=float(about["cpu"]) if "cpu" in about else None,
            memory_bytes=int(about.get("memory", 0)),
        )
    except (ValueError, TypeError, AttributeError):
        return Worker(name, "?", 0, 0, 0)


async def list_items(client: Any, key: str) -> AsyncIterator[bytes]:
    """Every entry of a list, in slices; from the end that grows last to the one that shrinks.

    Read from the tail side so that pushes at the head shift entries towards what is still to
    be read: an entry may be seen twice, none is skipped unless it was taken.
    """
    stop, stride = await client.llen(key), Stride(SLICE)
    while stop > 0:
        start = max(0, stop - stride.count)
        part = await client.lrange(key, start, stop - 1)
        for raw in reversed(part):
            yield raw
        stride.saw(len(part), sum(map(len, part)))
        stop = start


async def hash_values(client: Any, key: str) -> AsyncIterator[bytes]:
    """Every value of a hash, by HSCAN."""
    cursor, stride = 0, Stride(SLICE)
    while True:
        cursor, part = await client.hscan(key, cursor, count=stride.count)
        for value in part.values():
            yield value
        stride.saw(len(part), sum(map(len, part.values())))
        if not cursor:
            return


async def zset_members(client: Any, key: str) -> AsyncIterator[bytes]:
    """Every member of a sorted set, by ZSCAN."""
    cursor, stride = 0, Stride(SLICE)
    while True:
        cursor, part = await client.zscan(key, cursor, count=stride.count)
        for member, _ in part:
            yield member
        stride.saw(len(part), sum(len(member) for member, _ in part))
        if not cursor:
            return


async def dead_letters(client: Any, key: str) -> AsyncIterator[dict[bytes, bytes]]:
    """Every entry of the dead-letter stream, oldest first, in slices."""
    start, stride = "-", Stride(SLICE)
    while True:
        part = await client.xrange(key, min=start, count=stride.count)
        for _, fields in part:
            yield fields
        if len(part) < stride.count:
            return
        start = f"({part[-1][0].decode()}"
        stride.saw(len(part), sum(len(fields.get(b"raw", b"")) for _, fields in part))
