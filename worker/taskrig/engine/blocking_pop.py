"""Waits for work: holds the blocking move of one list, and lets one claim ride on it.

While a slot is free and the queue is empty, the consumer has a move pending, and behind it in the
same write an exchange for one task: the server runs it the moment something arrives, a round trip
before the worker could ask. The move itself only wakes.
"""

from __future__ import annotations

import asyncio

from taskrig.broker import Move
from taskrig.engine.events import log
from taskrig.engine.inbox import Fail, Inbox, Popped
from taskrig.errors import BrokerUnavailable, ended_with

ANSWER_S = 0.5  # how long the server may take to end a move that it was asked to end
REFUSED = ("permission", "script")  # kinds of errors of a server that does not have the command
HOPELESS = 5  # moves whose connection was cut, in a row: some proxies refuse a command like that
REFUSED_S = 60.0  # until it is tried again


class Trouble:
    """How long to do without the move after it failed. For long where it is refused: the worker's
    looks, every interval, find tasks without it. `failures`: moves that were refused or cut, in a
    row; 0 when one works."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self.failures = 0
        self._said = False  # that the move is not to be had

    def pause_s(self, error: BrokerUnavailable) -> float:
        """It failed; how long to wait before the next one, in seconds."""
        self.failures += error.kind in (*REFUSED, "connection")
        if error.kind not in REFUSED and self.failures < HOPELESS:
            return 0.1 if error.kind == "connection" else min(self._interval_s, 1.0)
        if not self._said:
            self._said = True
            log.warning(
                "waiting for tasks by BLMOVE does not work here: an idle worker looks every "
                "worker.interval instead (%s)",
                error,
            )
        return REFUSED_S


class BlockingPop:
    """One move after another, each when it is asked for; each one's end is put into the inbox."""

    def __init__(self, index: int, move: Move, inbox: Inbox, interval_s: float) -> None:
        """`index` is the place of its list among those of the queue."""
        self._index = index
        self.trouble = Trouble(interval_s)
        self._move = move
        self._inbox = inbox
        self._asked = asyncio.Event()
        self._asking_end: asyncio.Task[None] | None = None
        self._work: asyncio.Task[None] | None = None
        self._within_s: float | None = 0.0  # 0: pass on what was moved; None: end
        self._number: int | None = None
        self.pending = False  # asked for something, and the consumer does not know its end yet
        self.moved = False  # what it moved may still be where it landed
        self.not_before = 0.0  # after a failure: when it may be tried again, by the loop's clock

    def start(self) -> None:
        """Be ready to be asked."""
        self._work = asyncio.get_running_loop().create_task(self._run())
        self._work.add_done_callback(self._report)

    def ask(self, number: int | None, within_s: float) -> None:
        """Hold a move for `within_s` seconds; with a `number`, a claim rides on it."""
        self._number, self._within_s = number, within_s
        self.pending = True
        self.moved = False
        self._asked.set()

    def pass_on(self) -> None:
        """Put what was moved back to the front of its list, where it wakes another worker."""
        self.moved = False
        self.pending = True
        self._within_s = 0.0
        self._asked.set()

    def interrupt(self) -> None:
        """Have the move answered now. A move without a claim may be cut: it only wakes."""
        if not self.pending:
            return
        if self._number is None:
            self._move.cut()
        elif self._asking_end is None:
            self._asking_end = asyncio.get_running_loop().create_task(self._ask_for_the_end())

    async def end(self, within_s: float) -> None:
        """No more moves: end, whatever the server does."""
        self._within_s = None
        self._asked.set()
        self._move.cut()
        if self._work is not None:
            await asyncio.wait([self._work], timeout=within_s)

    async def _ask_for_the_end(self) -> None:
        number = self._number
        cut = asyncio.get_running_loop().call_later(ANSWER_S, self._cut, number)
        try:
            await self._move.ask_to_end()
        except BrokerUnavailable as error:
            log.debug("the blocking move is cut: %s", error)
            cut.cancel()
            self._cut(number)
        finally:
            self._asking_end = None

    def _cut(self, number: int | None) -> None:
        if self.pending and self._number == number:
            self._move.cut()

    async def _run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            if self._within_s is None:
                break
            if self._within_s == 0.0:
                await self._put_back()
                self.pending = False
                self._inbox.wake()
                continue
            popped = Popped(self._index, self._number)
            try:
                want = 0 if self._number is None else 1
                popped.arrival = await self._move.wait(want, self._number or 0, self._within_s)
                popped.error = popped.arrival.fault
            except BrokerUnavailable as error:
                popped.error, popped.sent = error, self._move.sent
            self._number = None
            self._inbox.popped.append(popped)  # stays pending until the consumer has taken it
            self._inbox.wake()
        await self._put_back()

    async def _put_back(self) -> None:
        try:
            await self._move.pass_on()
        except BrokerUnavailable:
            pass  # what arrived stays in arrivals, where any worker's exchange finds it

    def _report(self, work: asyncio.Task[None]) -> None:
        fault = ended_with(work)
        if fault is not None:
            self._inbox.order(Fail(fault))
