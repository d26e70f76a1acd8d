"""What Redis says about the queue and its workers right now; reads only, bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from taskrig.broker import QueueCommands, Stride
from taskrig.broker.start import key_checks
from taskrig.keys import Keys
from taskrig_loadgen.connection import ask, refuse_wrong_key

DEMO_TYPES = ("fast_task", "medium_task", "slow_task", "noop")
MOST_WORKERS = 10_000  # whose slots are counted
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
    types: tuple[str, ...] | None = None  # that it has handlers for; None: it does not say
    test_types: tuple[str, ...] | None = None  # those whose handlers have no effect

    @property
    def tells(self) -> bool:
        """Whether it says which types it has handlers for, or which of them are for tests."""
        return self.types is not None or self.test_types is not None

    def runs_for_real(self, name: str) -> bool:
        """Whether it has a handler for this type that is not one for tests, as far as it says."""
        if self.test_types is None:  # an older worker: the demo's types are known by their names
            return self.types is not None and name in self.types and name not in DEMO_TYPES
        if name in self.test_types:
            return False
        if self.types is None or name in self.types:
            return True
        return "*" in self.types and "*" not in self.test_types


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


async def look(client: Any, commands: QueueCommands) -> QueueView:
    """Read the whole view in one round trip, by the command of `worker status`.

    Raises:
        RedisError, OSError: Redis does not answer, or a key has another type.
    """
    try:
        seen = await ask(client, commands.survey(MOST_WORKERS))
    except ResponseError as error:
        if "WRONGTYPE" in str(error):  # the server does not say of which key
            await refuse_wrong_key(client, key_checks(commands.keys, ()))
        raise
    return QueueView(
        at=seen.at,
        waiting=seen.waiting,
        in_flight=seen.in_flight,
        delayed=seen.delayed,
        dead_letters=seen.dead,
        paused=seen.paused,
        totals=seen.totals,
        workers=tuple(
            Worker(
                *(one.id, one.host, one.pid, one.concurrency, one.running),
                *(one.cpu_s, one.memory_bytes, one.types, one.test_types),
            )
            for one in seen.workers
        ),
    )


async def further_lists(client: Any, keys: Keys) -> list[str]:
    """Where else tasks wait: held back by limits of their types, and in a queue's other lists."""
    return _further(keys, await client.smembers(keys.held), await client.smembers(keys.lists))


def _further(keys: Keys, held: Iterable[bytes], lists: Iterable[bytes]) -> list[str]:
    others = sorted({name.decode() for name in lists} - {keys.queue})
    return [
        *sorted(keys.held_of(name.decode()) for name in held),
        *(key for name in others for key in (keys.arrivals_of(name), name)),
    ]


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
