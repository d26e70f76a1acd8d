"""What operators do to a queue and its workers: look, pause, drain, cancel, reclaim.

Blocking calls over one connection of its own, for commands and for the threads of the HTTP port.
Every call may be repeated: what is done already is left as it is.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from taskrig.broker.address import Address
from taskrig.broker.queue import Depths, bring_back_call, depths_of, reclaim_call
from taskrig.broker.scripts import (
    ASK,
    BRING_BACK,
    FORGET,
    HELD,
    LEAVE,
    LOOK,
    ORPHANS,
    PAUSE,
    PAUSE_TYPE,
    RECLAIM,
    RENEW,
    SURVEY,
)
from taskrig.broker.start import queue_of, refuse_wrong_key
from taskrig.broker.stride import Stride
from taskrig.broker.survey import Survey, survey_of
from taskrig.broker.wire import ThreadWire
from taskrig.config import Config
from taskrig.errors import UsageError
from taskrig.keys import Keys, aside_name, is_aside, type_name, type_of

WORKERS_SHOWN = 200
_LEASE_MS = 30_000  # of a reclaim by hand, renewed with every slice
_HOLD_MS = 5_000  # other scanners wait for this long after a slice


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What a scan of in flight brought back; `busy`: another scan was under way, try again."""

    moved: int
    dead: int
    busy: bool = False


class Operator:
    """One operator at one queue."""

    def __init__(self, config: Config, address: Address) -> None:
        self.config = config
        self.keys = Keys.of(config.queue.key)
        self.where = address.where
        self.wire = ThreadWire(address, config.redis.socket_timeout_s)

    def close(self) -> None:
        """Close the connection; never raises."""
        self.wire.close()

    def refuse_wrong_key(self) -> None:
        """Raises UsageError when a key of the queue has a wrong type, BrokerUnavailable."""

        async def call(*command: Any) -> Any:
            return self.wire.call(*command)

        asyncio.run(refuse_wrong_key(call, self.keys, self.config.queue.sources))

    def refuse_other_queue(self) -> None:
        """Raises UsageError when the keys are those of another queue, BrokerUnavailable."""
        other = queue_of((self.wire.call("GET", self.keys.origin) or b"").decode(errors="replace"))
        if other not in ("", self.keys.queue):
            raise UsageError(
                f"{self.keys.prefix}* are the keys of the queue {other!r}, not of "
                f"{self.keys.queue!r}: give --redis-key {shlex.quote(other)}"
            )

    def survey(self) -> Survey:
        """How things stand now; raises BrokerUnavailable."""
        k = self.keys
        keys = (k.queue, k.arrivals, k.redeliver, k.inflight, k.delayed, k.dead, k.stats)
        more = (
            k.workers,
            k.paused,
            k.about,
            k.control,
            k.held,
            k.paused_types,
            k.lists,
            k.requeued,
        )
        reply = self.wire.run(SURVEY, keys + more, self.config.queue.pop, WORKERS_SHOWN)
        seen = survey_of(k.queue, reply)
        # Workers tell with their leases what they run: leave out what has ended since.
        held = self._held([task.tag for task in seen.running])
        return seen.without(task for task, yes in zip(seen.running, held, strict=True) if not yes)

    def look(self) -> Depths:
        """The depths alone, cheaper than a survey; raises BrokerUnavailable."""
        keys = (
            self.keys.queue,
            self.keys.arrivals,
            self.keys.redeliver,
            self.keys.inflight,
            self.keys.delayed,
            self.keys.dead,
            self.keys.stats,
            self.keys.workers,
            self.keys.paused,
            self.keys.reclaiming,
            self.keys.held,
            self.keys.paused_types,
            self.keys.lists,
            self.keys.requeued,
            self.keys.origin,
        )
        return depths_of(self.wire.run(LOOK, keys, self.config.queue.pop))

    def _held(self, tags: list[str]) -> list[bool]:
        found: list[bool] = []
        for at in range(0, len(tags), 1000):
            part = tags[at : at + 1000]
            found += [one == 1 for one in self.wire.run(HELD, (self.keys.inflight,), *part)]
        return found

    def held_lists(self) -> tuple[list[str], list[str]]:
        """The keys of tasks that limits, and that pauses hold back; raises BrokerUnavailable."""
        names = sorted(name.decode() for name in self.wire.call("SMEMBERS", self.keys.held))
        paused = [self.keys.held_of(name) for name in names if is_aside(name)]
        limited = [self.keys.held_of(name) for name in names if not is_aside(name)]
        return limited, paused

    def lists(self) -> list[str]:
        """The lists of a queue that has several; raises BrokerUnavailable."""
        return sorted(name.decode() for name in self.wire.call("SMEMBERS", self.keys.lists))

    def held(self, tag: str) -> bool:
        """Whether a task is in flight; raises BrokerUnavailable."""
        return self._held([tag])[0]

    def item(self, tag: str) -> bytes | None:
        """The raw item of a task in flight, None when it is not; raises BrokerUnavailable."""
        raw: bytes | None = self.wire.call("HGET", self.keys.inflight, tag)
        return raw

    def pause(self, why: str = "") -> bool:
        """Let no worker claim; False when it was so already. Raises BrokerUnavailable."""
        return bool(self.wire.run(PAUSE, (self.keys.paused,), _one_line(why)) == 1)

    def resume(self) -> bool:
        """Let workers claim again; False when they could. Raises BrokerUnavailable."""
        return bool(self.wire.call("DEL", self.keys.paused) == 1)

    def pause_type(self, type: str, why: str = "") -> bool:
        """Let no worker start tasks of one type; False when it was so already.

        A worker knows within `worker.interval`, a second at most; what it claims of the type from
        then on is set aside. Raises BrokerUnavailable.
        """
        keys = (self.keys.paused_types,)
        return bool(self.wire.run(PAUSE_TYPE, keys, type_name(type), _one_line(why)) == 1)

    def resume_type(
        self, type: str, progress: Callable[[int], None], within_s: float = math.inf
    ) -> tuple[bool, int]:
        """Let workers start tasks of this type again, and give back what was set aside.

        In slices; `progress` is told after each how many have been given back. Were it to break
        off, as it does after `within_s`, live workers would do the rest. Returns (whether it was
        paused, how many were given back). Raises BrokerUnavailable.
        """
        until = time.monotonic() + within_s
        changed = self.wire.call("HDEL", self.keys.paused_types, type_name(type)) == 1
        keys, arguments = bring_back_call(
            self.keys, aside_name(type), self.config.worker.max_deliveries
        )
        moved = 0
        while True:
            part, left = self.wire.run(BRING_BACK, keys, *arguments)
            moved += part
            progress(moved)
            if not left or time.monotonic() >= until:
                return changed, moved

    def paused_types(self) -> list[str]:
        """The paused types, sorted; raises BrokerUnavailable."""
        names = self.wire.call("HKEYS", self.keys.paused_types)
        return sorted(type_of(name.decode()) for name in names)

    def drain(self, worker: str) -> str:
        """Ask a worker to drain: "", already or no_worker. Raises BrokerUnavailable."""
        return self._ask(worker, "drain")

    def cancel(self, tag: str) -> str:
        """Ask a task's worker to cancel it; raises BrokerUnavailable.

        Returns "" (asked), already, not_in_flight, no_worker (its worker is silent: the task
        will be reclaimed) or too_many (asks that the worker has not yet seen).
        """
        worker, colon, number = tag.rpartition(":")
        if not (worker and colon and number.isascii() and number.isdigit()):
            return "not_in_flight"
        return self._ask(worker, f"cancel:{number}")

    def _ask(self, worker: str, word: str) -> str:
        k = self.keys
        reply: bytes = self.wire.run(ASK, (k.workers, k.control, k.inflight), worker, word)
        return reply.decode()

    # -- reclaiming

    def orphans(self) -> dict[str, int]:
        """How many tasks are in flight of each worker without a live lease."""
        counts: dict[str, int] = {}
        for rows in self._slices(self._count_orphans):
            for worker, count in rows:
                name = worker.decode(errors="replace")
                counts[name] = counts.get(name, 0) + count
        return counts

    def _count_orphans(self, cursor: int, count: int) -> tuple[int, int, int, Any]:
        keys = (self.keys.inflight, self.keys.workers)
        at, seen, size, rows = self.wire.run(ORPHANS, keys, cursor, count)
        return int(at), seen, size, rows

    def reclaim(self, progress: Callable[[int], None]) -> Reclaimed:
        """Requeue now what workers without a live lease hold, as a worker would later.

        `progress` is told after each slice how many were moved. Raises BrokerUnavailable.
        """
        scan = _Scan(self, progress)
        try:
            for _ in self._slices(scan.slice):
                if scan.busy:
                    break
            if not scan.busy:
                k = self.keys
                self.wire.run(FORGET, (k.workers, k.about, k.control), scan.began)
        finally:
            scan.leave()
        return Reclaimed(scan.moved, scan.dead, scan.busy)

    def _slices(self, one: Callable[[int, int], tuple[int, int, int, Any]]) -> Iterator[Any]:
        """Go through in flight in slices of about SLICE_BYTES."""
        cursor, stride = 0, Stride(500)
        while True:
            cursor, seen, size, result = one(cursor, stride.count)
            yield result
            stride.saw(seen, size)
            if cursor == 0:
                return


def _one_line(why: str) -> str:
    return " ".join(why.split())[:200]


class _Scan:
    """A scan of in flight under a lease of its own: whoever reclaims must hold one."""

    def __init__(self, operator: Operator, progress: Callable[[int], None]) -> None:
        self._operator = operator
        self._progress = progress
        self._id = f"operator-{secrets.token_hex(5)}"
        self.moved = self.dead = 0
        self.busy = False
        self.began = "0"

    def slice(self, cursor: int, count: int) -> tuple[int, int, int, None]:
        """Move one slice's orphans."""
        operator, k = self._operator, self._operator.keys
        about = json.dumps({"lease": _LEASE_MS / 1000})
        operator.wire.run(RENEW, (k.workers, k.about), self._id, _LEASE_MS, about)
        keys, arguments = reclaim_call(k, operator.config, self._id, cursor, count)
        state, at, moved, dead, seen, size, now_ms = operator.wire.run(
            RECLAIM, keys, *arguments, _HOLD_MS, 0, 0, 0, 0
        )
        if state:
            self.busy = True
            return 0, 0, 0, None
        if self.began == "0":
            self.began = now_ms.decode()
        self.moved += moved
        self.dead += dead
        self._progress(self.moved)
        return int(at), seen, size, None

    def leave(self) -> None:
        """Give the lease and the scanner's turn back."""
        operator, k = self._operator, self._operator.keys
        operator.wire.run(LEAVE, (k.workers, k.about, k.control, k.alone), self._id)
        if operator.wire.call("GET", k.reclaiming) == self._id.encode():
            operator.wire.call("DEL", k.reclaiming)
