"""The exchange, one turn of a worker with Redis, and the blocking move on which one may ride.

One round trip renews the lease, settles what has ended, and claims what fits; see exchange.lua.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from operator import is_not
from typing import Any

import msgspec

from taskrig.broker.commands import Command, command, encode
from taskrig.broker.connection import Connection, TooLarge
from taskrig.broker.queue_commands import CLAIM_BYTES, QueueCommands
from taskrig.broker.scripts import EXCHANGE
from taskrig.broker.shares import Shares
from taskrig.config.sections import Config
from taskrig.errors import BrokerUnavailable
from taskrig.keys import Keys
from taskrig.task import Begun, Delivery, Outcome, Settlement

IN_HAND = 1  # at least, when a claim rides on a move: it takes nothing that must be alone


class Exchanged(msgspec.Struct):
    """The answer to one exchange."""

    why: str  # "" | paused | drain | alone: why nothing was claimed
    gap: bool  # the lease had lapsed before this exchange renewed it
    more: bool  # the byte bound ended the claim, not the queue
    missing: list[bytes]  # tags that were not in flight; b"" where only their number is known
    too_large: list[tuple[int, bytes]]  # (size, start) of items dead-lettered unread
    deliveries: list[Delivery]
    cancel: list[str]  # tags of running tasks that an operator wants cancelled
    due_ms: int  # until the next delayed task is due; -1: none, or nothing was to be claimed
    now_ms: int  # Unix time by the server's clock
    groups_missing: list[bytes] = []  # of members that ended and could not be counted


class ExchangeCommands:
    """The exchanges of one worker, as commands."""

    def __init__(self, config: Config, worker_id: str, *, positions: bool = False) -> None:
        """With `positions`, each delivery knows its own; unique types need them."""
        k, queue, dead = Keys.of(config.queue.key), config.queue, config.dead_letters
        lists = queue.sources if queue.lists else ()
        keys = (
            *(k.queue, k.inflight, k.meta, k.workers, k.control, k.arrivals, k.redeliver),
            *(k.dead, k.dead_index, k.stats, k.paused, k.alone, k.delayed, k.held, k.marks),
            *(k.dead_from, k.requeued),
            *(key for name in lists for key in (k.arrivals_of(name), name)),
        )
        head = (len(keys), *keys, worker_id, round(config.worker.lease_s * 1000))
        tail = (
            *(queue.pop, queue.max_item_bytes, CLAIM_BYTES, config.worker.max_deliveries),
            *(dead.max, dead.invalid_max, dead.invalid_max_bytes, k.run(""), int(positions)),
        )
        # What never changes is encoded once.
        self._head = EXCHANGE.call + b"".join(map(encode, head))
        self._tail = b"".join(map(encode, tail))
        self._count = 2 + len(head) + len(tail) + 6  # arguments of one that settles nothing
        self._tag = f"{worker_id}:"
        self._shares = Shares(queue.weights) if queue.weights else None
        self._positions = positions

    def turn(
        self,
        settled: Sequence[Settlement | Begun | str],
        want: int,
        first: int,
        in_hand: int,
        one_by_one: bool,
    ) -> Command[Exchanged]:
        """Renew the lease, settle, and claim up to `want` tasks, numbered from `first`.

        A bare tag among `settled` is a plain success; `Begun` tells only that a task runs.
        `in_hand` is how many tasks stay with the worker; `one_by_one` makes sure that every tag
        that was not in flight is named.
        """
        plain: list[str] = []
        others: list[bytes] = []
        for one in settled:
            if isinstance(one, str):
                plain.append(one)
            elif isinstance(one, Begun):
                others += map(encode, ("running", one.tag, "", "", "", "", "", "", 6))
                others += map(encode, (one.task_id, "", 0, one.ttl_s, "", ""))
            elif one.outcome is Outcome.SUCCEEDED and not one.run and not one.leaves:
                plain.append(one.tag)
            else:
                fields = (one.outcome.value, one.tag, one.type, one.reason, one.error, one.run)
                more = (one.record, one.traceback, len(one.leaves), *one.leaves)
                others += map(encode, (*fields, *more))
        shares = self._shares.of(want).encode() if self._shares is not None else b""
        count = b"%d" % len(plain)
        data = b"*%d\r\n%b%b%b$1\r\n%d\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n%b%b" % (
            *(self._count + len(plain) + len(others), self._head),
            *(_numbers(want, first, in_hand), self._tail, one_by_one),
            *(len(shares), shares, len(count), count),
            "".join([f"${len(tag)}\r\n{tag}\r\n" for tag in plain]).encode("ascii"),
            b"".join(others),
        )
        return Command(data, partial(self._read, first), EXCHANGE)

    def _read(self, first: int, reply: list[Any]) -> Exchanged:
        why, gap, more, _, missing, too_large, counts, items, cancel, *rest = reply
        due_ms, now_ms, position, requeues, *groups = rest
        head = self._tag
        deliveries = [Delivery(f"{head}{n}", raw) for n, raw in enumerate(items, first)]
        if self._positions:
            position += 1 - len(counts)  # of the first that came from the queue
            for n, delivery in enumerate(deliveries, position):
                delivery.position = n
        for index, times, attempts in counts:
            delivery = deliveries[index - 1]
            delivery.deliveries, delivery.attempts, delivery.returned = times, attempts, True
        for index, requeued_ms in requeues:
            deliveries[index - 1].requeued_at = requeued_ms / 1000
        return Exchanged(
            why.decode(),
            gap == 1,
            more == 1,
            missing,
            [(size, start) for size, start in too_large],
            deliveries,
            [tag.decode() for tag in cancel],
            due_ms,
            now_ms,
            *groups,
        )


def _numbers(*values: int) -> bytes:
    texts = [b"%d" % value for value in values]
    return b"".join([b"$%d\r\n%b\r\n" % (len(text), text) for text in texts])


class Exchange:
    """Runs one exchange after another, over a connection of its own."""

    def __init__(self, commands: ExchangeCommands, connection: Connection) -> None:
        self._commands = commands
        self.connection = connection

    def __call__(
        self,
        settled: Sequence[Settlement | Begun | str],
        want: int,
        first: int,
        in_hand: int,
        one_by_one: bool,
    ) -> Coroutine[Any, Any, Exchanged]:
        """See `ExchangeCommands.turn`; to be awaited.

        Raises:
            BrokerUnavailable: it may or may not have been executed; see `sent`.
        """
        turn = self._commands.turn(settled, want, first, in_hand, one_by_one)
        return self.connection.run(turn)

    @property
    def sent(self) -> bool:
        """Whether the last one left this host, so that the server may have executed it."""
        return self.connection.sent


_something_came = partial(is_not, None)  # what BLMOVE answers, once it has moved an item


class Arrival(msgspec.Struct):
    """How a blocking move ended."""

    moved: bool  # something arrived
    exchanged: Exchanged | None = None  # of the exchange sent with it, where it was executed
    fault: BrokerUnavailable | None = None  # what the server refused
    unread: tuple[int, bytes] | None = None  # (size, start) of an item too large to be read: then
    # the connection was dropped, and the exchange's answer is lost with it


class Move:
    """The blocking move of one list to where it lands, with which a worker waits for work."""

    def __init__(
        self,
        connection: Connection,
        commands: ExchangeCommands,
        source: str,
        config: Config,
        hold_s: float,
        beside: Callable[[Command[Any]], Awaitable[Any]],
    ) -> None:
        """`hold_s`: for how long the server may hold it at most. `beside` runs another command
        while it is held."""
        self.source = source
        self.connection = connection
        self._beside = beside
        ends = (config.queue.pop.upper(), "LEFT")
        arrivals = Keys.of(config.queue.key).arrivals_of(source)
        self._blmove = b"".join(map(encode, ("BLMOVE", source, arrivals, *ends)))
        self._pass_on = QueueCommands(config).pass_on(source)
        self._commands = commands
        self._hold_s = hold_s
        self._most = config.queue.max_item_bytes

    async def wait(self, want: int, first: int, within_s: float) -> Arrival:
        """Hold the move, for at most `within_s`; with a `want` from 1, claim in the same write:
        the server runs that exchange as soon as the move ends, one round trip earlier.

        Raises:
            BrokerUnavailable: also when cut. The exchange may or may not have been executed; see
                `sent`.
        """
        hold_s = max(0.001, min(self._hold_s, within_s))
        timeout = b"%.3f" % hold_s
        move = Command(
            b"*6\r\n%b$%d\r\n%b\r\n" % (self._blmove, len(timeout), timeout), _something_came
        )
        reply: Exchanged | BrokerUnavailable | None = None
        moved: Any
        try:
            if want:
                claim = self._commands.turn((), want, first, IN_HAND, False)
                held = self.connection.run_both(move, claim, extra_s=hold_s, most=self._most)
                moved, reply = await held
            else:
                moved = await self.connection.run(move, extra_s=hold_s, most=self._most)
        except TooLarge as item:
            return Arrival(True, unread=(item.size, item.start))
        arrival = Arrival(moved is True)
        if isinstance(reply, Exchanged):
            arrival.exchanged = reply
        for answer in (moved, reply):
            if isinstance(answer, BrokerUnavailable):
                arrival.fault = answer
        return arrival

    @property
    def sent(self) -> bool:
        """Whether the last one left this host."""
        return self.connection.sent

    async def ask_to_end(self) -> None:
        """Ask the server to answer at once.

        Raises:
            BrokerUnavailable: it cannot be asked; then `cut` is what is left.
        """
        client = self.connection.client_id
        if client is None:
            raise BrokerUnavailable("the blocking move's connection has no id")
        await self._beside(command("CLIENT", "UNBLOCK", client))

    def cut(self) -> None:
        """End it at once; arrivals belong to nobody, so nothing is stranded there."""
        self.connection.cut()

    async def pass_on(self) -> int:
        """Put arrivals back to the list's front, where another worker's move sees them."""
        return int(await self._beside(self._pass_on))
