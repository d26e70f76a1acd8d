"""Waits for work: holds the blocking move of one list, and lets one claim ride on it.

While a slot is free and the queue is empty, the move is pending, and behind it in the same write
an exchange for one task: the server runs it the moment something arrives, a round trip before the
worker could ask. Its slot and its number are set aside for it. The move itself only wakes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from worker.broker import Arrival, Move
from worker.errors import BrokerUnavailable, ended_with
from worker.journal import log

ANSWER_S = 0.5  # how long the server may take to end a move that it was asked to end
REFUSED = ("permission", "script")  # kinds of errors of a server that does not have the command
HOPELESS = 5  # moves whose connection was cut, in a row: some proxies refuse a command like that
REFUSED_S = 60.0  # until it is tried again


class Owner(Protocol):
    """What the waiter needs of the consumer."""

    claiming: bool

    def may_wait(self) -> bool: ...
    def has_room(self) -> bool: ...
    def due_in_s(self) -> float: ...
    def reserve(self) -> int: ...
    def arrived(self, arrival: Arrival) -> bool: ...
    def left_unread(self, size: int, start: bytes, number: int | None) -> None: ...
    def move_failed(self, error: BrokerUnavailable, number: int | None, sent: bool) -> float: ...


class Waiter:
    """One blocking move after another, for as long as the owner claims."""

    def __init__(self, owner: Owner, move: Move, *, claims: bool) -> None:
        """Without `claims` the move goes alone, and whatever it wakes claims by itself."""
        self._owner = owner
        self._move = move
        self._claims = claims
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._failures = 0  # of moves that were refused or cut, in a row
        self._said = False  # that the move is not to be had
        self._asking: asyncio.Task[None] | None = None
        self._work: asyncio.Task[None] | None = None
        self._moved = False  # what arrived may still be there, when others took all slots
        self.number: int | None = None  # of the tag that an open claim may create

    @property
    def reserved(self) -> int:
        """Slots set aside for the claim that is open: 0 or 1."""
        return 0 if self.number is None else 1

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """Begin; `failed` is told if this ends with an error, which is a bug."""
        self._work = asyncio.get_running_loop().create_task(self._run())
        self._work.add_done_callback(lambda work: _report(work, failed))

    def look(self) -> None:
        """Something has changed that may let it wait."""
        if self._owner.may_wait() or (self._moved and not self._owner.has_room()):
            self._ready.set()

    def interrupt(self) -> None:
        """Have the move answered now. A move without a claim may be cut: it only wakes."""
        if self.number is None:
            self._move.cut()
        elif self._asking is None:
            loop = asyncio.get_running_loop()
            self._asking = loop.create_task(self._ask_for_the_end())

    async def end(self, within_s: float) -> None:
        """The owner claims no more: end, whatever the server does."""
        self._ready.set()
        self._ended.set()
        self._move.cut()
        if self._work is not None:
            await asyncio.wait([self._work], timeout=within_s)

    async def _ask_for_the_end(self) -> None:
        number = self.number
        cut = asyncio.get_running_loop().call_later(ANSWER_S, self._cut, number)
        try:
            await self._move.ask_to_end()
        except BrokerUnavailable as error:
            log.debug("the blocking move is cut: %s", error)
            cut.cancel()
            self._cut(number)
        finally:
            self._asking = None

    def _cut(self, number: int | None) -> None:
        if self.number == number:
            self._move.cut()

    async def _run(self) -> None:
        owner = self._owner
        while owner.claiming:
            if not owner.may_wait():
                self._ready.clear()
                await self._ready.wait()
                if self._moved and not owner.has_room():
                    await self._pass_on()
                continue
            self._moved = False
            within_s = owner.due_in_s()
            self.number = owner.reserve() if self._claims else None
            try:
                arrival = await self._move.wait(self.reserved, self.number or 0, within_s)
            except BrokerUnavailable as error:
                number, self.number = self.number, None
                await self._rest(error, number)
                continue
            number, self.number = self.number, None
            self._moved = arrival.moved and arrival.exchanged is None
            if arrival.unread is not None:
                owner.left_unread(*arrival.unread, number)
            if owner.arrived(arrival):
                await self._pass_on()
            if arrival.fault is not None:
                await self._rest(arrival.fault, None)
            else:
                self._failures = 0
        await self._pass_on()

    async def _rest(self, error: BrokerUnavailable, number: int | None) -> None:
        """The move failed: wait a little. For long where it is refused: the worker's looks, every
        interval, find tasks without it."""
        pause_s = self._owner.move_failed(error, number, self._move.sent)
        self._failures += error.kind in (*REFUSED, "connection")
        if error.kind in REFUSED or self._failures >= HOPELESS:
            pause_s = REFUSED_S
            if not self._said:
                self._said = True
                log.warning(
                    "waiting for tasks by BLMOVE does not work here: an idle worker looks every "
                    "worker.interval instead (%s)", error,
                )  # fmt: skip
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._ended.wait()

    async def _pass_on(self) -> None:
        self._moved = False
        try:
            await self._move.pass_on()
        except BrokerUnavailable:
            pass  # what arrived stays in arrivals, where any worker's exchange finds it


def _report(work: asyncio.Task[None], failed: Callable[[BaseException], None]) -> None:
    fault = ended_with(work)
    if fault is not None:
        failed(fault)
