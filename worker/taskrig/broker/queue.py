"""The queue as the worker sees it: exchange, blocking move, look, reclaim, leave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from taskrig.broker.address import Address
from taskrig.broker.move import Move
from taskrig.broker.resp import Encoded
from taskrig.broker.scripts import (
    BRING_BACK,
    EXCHANGE,
    FORGET,
    GATE,
    LEAVE,
    LOOK,
    RECLAIM,
    SCHEDULE,
    SET_BACK,
    Script,
)
from taskrig.broker.shares import Shares
from taskrig.broker.start import find_wrong_key, register
from taskrig.broker.survey import about_of, oldest_of
from taskrig.broker.wire import Wire
from taskrig.config import Config
from taskrig.errors import BrokerBroken, BrokerUnavailable
from taskrig.keys import Keys, type_of
from taskrig.task import Delivery, Settlement

CLAIM_BYTES = 256 * 1024  # per exchange: 1,000 items of 1 KiB cost Redis 5 ms, of 64 KiB 471 ms
CLAIM_ITEMS = 1000
UNKNOWN = 2**53  # a position after all others: what has it never counts as older


def exchange_keys(keys: Keys, config: Config) -> tuple[str, ...]:
    """The keys of exchange.lua."""
    k, lists = keys, config.queue.sources if config.queue.lists else ()
    return (
        *(k.queue, k.inflight, k.meta, k.workers, k.control, k.arrivals, k.redeliver),
        *(k.dead, k.dead_index, k.stats, k.paused, k.alone, k.delayed, k.held, k.marks),
        *(k.dead_from, k.requeued),
        *(key for list in lists for key in (k.arrivals_of(list), list)),
    )


@dataclass(slots=True)
class Exchanged:
    """The answer to one exchange."""

    why: str  # "" | paused | drain | alone: why nothing was claimed
    gap: bool  # the lease had lapsed before this exchange renewed it
    more: bool  # the byte bound ended the claim, not the queue
    alone: bool  # the delivery claimed must run alone
    missing: list[bytes]  # tags that were not in flight; b"" where only their number is known
    too_large: list[tuple[int, bytes]]  # (size, start) of items dead-lettered unread
    deliveries: list[Delivery]
    cancel: list[str]  # tags of running tasks that an operator wants cancelled
    due_ms: int  # until the next delayed task is due; -1: none, or nothing was to be claimed
    now_ms: int  # Unix time by the server's clock


@dataclass(frozen=True, slots=True)
class Depths:
    """How things stand on the queue, counted in tasks."""

    waiting: int
    in_flight: int
    delayed: int
    dead: int
    expired: int  # leases that ran out and are not yet dealt with
    paused: bool
    scanned_by: str
    claimed: int  # ever, by all workers
    trimmed: dict[str, int]  # dead letters dropped by their bounds, ever: failed, invalid
    now_s: int  # Unix seconds by the server's clock
    fronts: tuple[bytes, ...]  # the next item of each list, where it is short
    aside: int  # of paused types, set aside; not among `waiting`
    paused_types: frozenset[str]
    left_over: tuple[str, ...]  # held lists of types that are paused no more
    held: int  # of the waiting ones, those that a limit keeps back
    lists: dict[str, int]  # waiting in each list, where the queue has several
    held_by_type: dict[str, int]  # by the type's name in keys
    wrong: tuple[str, ...]  # keys of types that are no lists and should be, in words
    origin: str  # changes when Redis comes back without its data; "": not said yet

    def oldest_s(self) -> float | None:
        """Age of the oldest next task of a list, in seconds; None where none carries a time."""
        return oldest_of(self.fronts, self.now_s)


def wrong_type(key: bytes, found: bytes, expected: bytes) -> str:
    """A key of a wrong type, in words."""
    texts = (part.decode(errors="backslashreplace") for part in (key, found, expected))
    return "{} holds a {} and must be a {}".format(*texts)


def depths_of(reply: list[Any]) -> Depths:
    """The depths in a reply of look.lua."""
    waiting, in_flight, delayed, dead, expired, paused, scanned_by, *rest = reply
    claimed, trimmed, now_s, front, aside, paused_types, left_over, held, lists, *more = rest
    held_by_type, wrong, invalid_trimmed, origin = more
    return Depths(
        waiting,
        in_flight,
        delayed,
        dead,
        expired,
        paused == 1,
        scanned_by.decode(),
        claimed,
        {"failed": trimmed - invalid_trimmed, "invalid": invalid_trimmed},
        now_s,
        (front, *(row[2] for row in lists)),
        aside,
        frozenset(type_of(name.decode()) for name in paused_types),
        tuple(name.decode() for name in left_over),
        held,
        {name.decode(errors="replace"): waiting for name, waiting, _ in lists},
        {name.decode(): number for name, number in held_by_type},
        tuple(wrong_type(key, found, b"list") for key, found in wrong),
        origin.decode(errors="replace"),
    )


def bring_back_call(
    keys: Keys, name: str, max_deliveries: int
) -> tuple[tuple[str, ...], tuple[str | int, ...]]:
    """The keys and arguments of bring_back.lua for one slice of a held list."""
    where = (keys.held_of(name), keys.held, keys.paused_types, keys.redeliver)
    return where, (name, max_deliveries, CLAIM_ITEMS, CLAIM_BYTES)


def reclaim_call(
    keys: Keys, config: Config, who: str, cursor: int, count: int
) -> tuple[tuple[str, ...], tuple[str | int, ...]]:
    """The keys and the first arguments of reclaim.lua."""
    k, dead = keys, config.dead_letters
    where = (
        *(k.inflight, k.meta, k.workers, k.redeliver, k.dead, k.stats, k.reclaiming),
        *(k.marks, k.queue, k.arrivals, k.dead_index, k.dead_from, k.about),
    )
    return where, (who, cursor, count, config.worker.max_deliveries, dead.max, dead.invalid_max)


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice of a scan of in flight."""

    state: str  # "" | busy | refused | stepped
    cursor: int
    moved: int
    dead: int
    seen: int
    bytes: int
    now_ms: str


class Broker:
    """All that the worker's event loop asks of Redis, over three connections:

    one for exchanges, one that holds the blocking move (one for each list), one for everything
    slower.
    """

    def __init__(
        self, config: Config, worker_id: str, address: Address, *, positions: bool = False
    ) -> None:
        """With `positions`, each delivery knows its own; unique types need them."""
        self.keys = Keys.of(config.queue.key)
        self.where = address.where
        timeout_s = config.redis.socket_timeout_s
        self._id = worker_id
        self._config = config
        self._exchange_wire = Wire(address, timeout_s)
        self._side_wire = Wire(address, timeout_s)
        self._side_turn = asyncio.Lock()  # several share the side wire, one call at a time
        k = self.keys
        keys = exchange_keys(k, config)
        lease_ms = round(config.worker.lease_s * 1000)
        self._exchange_head = Encoded.of(len(keys), *keys, worker_id, lease_ms)
        dead = config.dead_letters
        self._exchange_tail = Encoded.of(
            *(config.queue.pop, config.queue.max_item_bytes, CLAIM_BYTES),
            *(config.worker.max_deliveries, dead.max, dead.invalid_max, dead.invalid_max_bytes),
            *(k.run(""), int(positions)),
        )
        self._positions = positions
        self._shares = Shares(config.queue.weights)
        # Short enough that a look comes every interval, and that no timeout fires first.
        hold_s = min(config.worker.interval_s, 1.0, config.worker.lease_s / 3, timeout_s / 2)
        self.moves = tuple(
            Move(
                Wire(address, timeout_s, identify=True),
                self._side_call,
                self._side,
                self._claim,
                self._exchanged,
                source=list,
                arrivals=k.arrivals_of(list),
                side=config.queue.pop,
                hold_s=hold_s,
                most=config.queue.max_item_bytes,
            )
            for list in config.queue.sources
        )

    @property
    def exchange_sent(self) -> bool:
        """Whether the last exchange left this host, so that the server may have executed it."""
        return self._exchange_wire.sent

    async def exchange(
        self,
        settled: Sequence[Settlement | str],
        want: int,
        first: int,
        hands: int,
        one_by_one: bool,
    ) -> Exchanged:
        """Renew the lease, settle, and claim up to `want` tasks, numbered from `first`.

        A bare tag among `settled` is a plain success. `hands` is how many tasks stay with the
        worker; `one_by_one` makes sure that every tag that was not in flight is named.

        Raises:
            BrokerUnavailable: it may or may not have been executed; see `exchange_sent`.
        """
        plain: list[str] = []
        rest: list[Any] = []
        for s in settled:
            if isinstance(s, str):
                plain.append(s)
            elif s.plain:
                plain.append(s.tag)
            else:
                rest += (s.outcome.value, s.tag, s.type, s.reason, s.error)
                rest += (s.run, s.record, s.traceback)
        reply = await self._exchange_wire.run_encoded(
            EXCHANGE,
            self._exchange_head,
            want,
            first,
            hands,
            self._exchange_tail,
            int(one_by_one),
            self._shares.of(want),
            len(plain),
            Encoded.of_ascii(plain),
            *rest,
        )
        return self._exchanged(reply, first)

    def _claim(self, want: int, first: int) -> tuple[Any, ...]:
        """An exchange that only claims, as a blocking move carries it."""
        hands = 1  # at least, when it runs: nothing is claimed that must be alone
        shares = self._shares.of(want)
        return self._exchange_head, want, first, hands, self._exchange_tail, 0, shares, 0

    def _exchanged(self, reply: list[Any], first: int) -> Exchanged:
        why, gap, more, alone, missing, too_large, counts, items, cancel, *rest = reply
        due_ms, now_ms, n, requeues = rest
        head = f"{self._id}:"
        deliveries = [Delivery(head + str(first + i), raw) for i, raw in enumerate(items)]
        if self._positions:
            n += 1 - len(counts)  # the position of the first that came from the queue
            for i, delivery in enumerate(deliveries):
                delivery.position = n + i
        for index, times, attempts in counts:
            deliveries[index - 1].deliveries = times
            deliveries[index - 1].attempts = attempts
            deliveries[index - 1].returned = True
        for index, requeued_ms in requeues:
            deliveries[index - 1].requeued_at = requeued_ms / 1000
        return Exchanged(
            why.decode(),
            gap == 1,
            more == 1,
            alone == 1,
            missing,
            [(size, start) for size, start in too_large],
            deliveries,
            [tag.decode() for tag in cancel],
            due_ms,
            now_ms,
        )

    async def gate(
        self,
        room: int,
        types: Sequence[tuple[str | int | float, ...]],
        ended: Sequence[tuple[int, str]],
        starting: Sequence[tuple[int, str, int, int, str]],
    ) -> tuple[list[int], list[tuple[int, int, str, str]]]:
        """Which tasks of limited types may start; the fields are those of gate.lua.

        Over the exchanges' connection, between two of them. Returns a verdict for each that is
        starting, and (ms to wait, moved, cursor, what is wrong with a key of it) for each type.
        Raises BrokerUnavailable.
        """
        k = self.keys
        flat = [str(value) for row in types for value in row]
        gone = [str(value) for row in ended for value in row]
        more = [str(value) for row in starting for value in row]
        verdicts, *states = await self._exchange_wire.run(
            GATE,
            (*(k.inflight, k.redeliver, k.held, k.queue, k.arrivals, k.stats, k.marks), k.delayed),
            k.prefix,
            self._config.worker.max_deliveries,
            room,
            CLAIM_BYTES,
            len(types),
            *flat,
            len(ended),
            *gone,
            *more,
        )
        return verdicts, [
            (wait, moved, cursor.decode(), wrong_type(*wrong) if wrong[0] else "")
            for wait, moved, cursor, *wrong in states
        ]

    async def _side(self, script: Script, keys: tuple[str, ...], *args: Any) -> Any:
        async with self._side_turn:
            return await self._side_wire.run(script, keys, *args)

    async def _side_call(self, *command: Any) -> Any:
        async with self._side_turn:
            return await self._side_wire.call(*command)

    async def find(self, first: int, count: int) -> list[Delivery]:
        """Of the tags that a lost exchange could have created, those that are in flight.

        Raises:
            BrokerUnavailable
        """
        found: list[Delivery] = []
        for start in range(first, first + count, 100):
            tags = [f"{self._id}:{n}" for n in range(start, min(start + 100, first + count))]
            raws = await self._side_call("HMGET", self.keys.inflight, *tags)
            counts = await self._side_call("HMGET", self.keys.meta, *tags)
            for tag, raw, meta in zip(tags, raws, counts, strict=True):
                if raw is not None:
                    deliveries, attempts, *since = (meta or b"0:0").split(b":")
                    found.append(Delivery(tag, raw, int(deliveries), int(attempts)))
                    found[-1].requeued_at = int(since[0]) / 1000 if since else 0.0
                    found[-1].returned = meta is not None
                    found[-1].position = UNKNOWN
        return found

    async def with_wrong_key(self, error: BrokerUnavailable) -> BrokerUnavailable:
        """The error of a wrong type, naming the key: the server's own message does not."""
        try:
            wrong = await find_wrong_key(self._side_call, self.keys, self._config.queue.sources)
        except BrokerUnavailable:
            return error
        if not wrong:
            return error
        named = BrokerBroken(f"{wrong}: delete or rename it")
        named.kind = error.kind
        return named

    async def look(self) -> Depths:
        """How things stand; raises BrokerUnavailable."""
        k = self.keys
        keys = (k.queue, k.arrivals, k.redeliver, k.inflight, k.delayed)
        more = (k.dead, k.stats, k.workers, k.paused, k.reclaiming, k.held, k.paused_types)
        rest = (k.lists, k.requeued, k.origin)
        return depths_of(await self._side(LOOK, keys + more + rest, self._config.queue.pop))

    async def register(self) -> str:
        """Say what the keys of this queue are, where that is gone with the data; their origin."""
        queue = self._config.queue
        return await register(self._side_call, self.keys, queue.lists and queue.sources)

    async def bring_back(self, name: str) -> tuple[int, int]:
        """Give a slice of the held list `name` back to the queue; see bring_back.lua.

        Returns (moved, still there). Raises BrokerUnavailable.
        """
        keys, arguments = bring_back_call(self.keys, name, self._config.worker.max_deliveries)
        moved, left = await self._side(BRING_BACK, keys, *arguments)
        return moved, left

    async def limited_names(self) -> set[str]:
        """Names in keys of the types that some worker has limits for; raises BrokerUnavailable."""
        names: set[str] = set()
        cursor: bytes = b"0"
        while True:
            cursor, found = await self._side_call("HSCAN", self.keys.about, cursor, "COUNT", 10)
            for about in map(about_of, found[1::2]):
                limited = about.get("limited")
                if isinstance(limited, list):
                    names.update(name for name in limited if isinstance(name, str))
            if int(cursor) == 0:
                return names

    async def reclaim(
        self,
        cursor: int,
        count: int,
        hold_ms: int,
        below: int,
        known: list[str],
        *,
        expected_s: float = 0.0,
        steady_s: float = 0.0,
    ) -> Slice:
        """One slice of a scan of in flight; see reclaim.lua. Raises BrokerUnavailable.

        `expected_s`: what the server's clock must show now, in Unix seconds (0: not known);
        `steady_s`: for how long it has been seen without a step.
        """
        off_ms = round(min(self._config.worker.lease_s / 3, 5.0) * 1000)
        keys, arguments = reclaim_call(self.keys, self._config, self._id, cursor, count)
        r = await self._side(
            RECLAIM,
            keys,
            *arguments,
            hold_ms,
            below,
            round(expected_s * 1000),
            off_ms,
            round(steady_s * 1000),
            *known,
        )
        state, at, moved, dead, seen, size, now_ms = r
        return Slice(state.decode(), int(at), moved, dead, seen, size, now_ms.decode())

    async def forget(self, before_ms: str) -> list[str]:
        """Drop workers whose leases ended before `before_ms`; raises BrokerUnavailable."""
        keys = (self.keys.workers, self.keys.about, self.keys.control)
        return [gone.decode() for gone in await self._side(FORGET, keys, before_ms)]

    async def set_back(
        self, by_s: float, within_s: float, at: str, count: int
    ) -> tuple[str, int, int, int]:
        """Let one slice of the delayed retries follow the server's clock; see set_back.lua.

        Returns (where the next slice begins, seen, moved, bytes). Raises BrokerUnavailable.
        """
        keys = (self.keys.delayed, self.keys.clock)
        by_ms, within_ms = round(by_s * 1000), round(within_s * 1000)
        after, seen, moved, size = await self._side(SET_BACK, keys, by_ms, within_ms, at, count)
        return after.decode(), seen, moved, size

    async def schedule(
        self, name: str, at: int, item: bytes, instead_of: int | None = None
    ) -> tuple[bool, float]:
        """Enqueue a scheduled task for the time `at`, unless that was done; see schedule.lua.

        Without an item, learn the last time; where it is `instead_of`, `at` takes its place.
        Returns (whether it was enqueued now, the last time enqueued); Unix seconds. Raises
        BrokerUnavailable.
        """
        keys = (self.keys.schedule, self.keys.queue)
        args = (name, at, item, self._config.queue.pop, "" if instead_of is None else instead_of)
        done, last = await self._side(SCHEDULE, keys, *args)
        return done == 1, float(last)

    async def leave(self) -> None:
        """Sign off; raises BrokerUnavailable."""
        k = self.keys
        await self._side(LEAVE, (k.workers, k.about, k.control, k.alone), self._id)

    def abandon(self, why: str) -> None:
        """The worker ends, and Redis does not answer: end every call, now and later, with that."""
        for move in self.moves:
            move.abandon(why)
        for wire in (self._exchange_wire, self._side_wire):
            wire.abandon(why)

    async def close(self) -> None:
        """Close the connections; never raises."""
        for move in self.moves:
            await move.close()
        for wire in (self._exchange_wire, self._side_wire):
            await wire.close()
