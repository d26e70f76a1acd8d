"""Reads what became of a run's tasks: completion records, depths, and the final search."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from taskrig.broker import QueueCommands
from taskrig_loadgen.connection import REDIS_ERRORS
from taskrig_loadgen.queueview import (
    QueueView,
    dead_letters,
    further_lists,
    hash_values,
    list_items,
    look,
    zset_members,
)
from taskrig_loadgen.result.ledger import DEAD, FAILED, Ledger
from taskrig_loadgen.result.record import Whereabouts
from taskrig_loadgen.run.clock import Offset

READ = 500  # records in one answer: more would hold up the sender, on the same event loop
TRIM_AFTER = 50_000  # records read and kept in Redis before they are dropped there
LOOK_EVERY_S = 0.25  # depth and workers
POLL_S = 0.02  # completion records


class Observer:
    """Follows one run in one queue; fills its ledger."""

    def __init__(self, client: Any, commands: QueueCommands, run_id: str, ledger: Ledger) -> None:
        self._client = client
        self._commands = commands
        keys = self._keys = commands.keys
        run = re.escape(run_id.encode())
        self._mark = re.compile(rb'"run"\s*:\s*"' + run + rb':(\d+)"')
        self._records = keys.run(run_id)
        self._position = 0
        self._trim: int | None = None  # records to drop in Redis before the next read
        self._first = b""
        self._last_look = 0.0
        self.look_every_s = LOOK_EVERY_S
        self.ledger = ledger
        self.views: list[QueueView] = []
        self.away: list[tuple[float, float, int]] = []  # from, until, looks without an answer
        self.last_progress = time.perf_counter()
        self.last_answer = time.perf_counter()
        self._unanswered = 0  # looks since the last answer
        self.offset: Offset | None = None  # of the server's clock, as measured at the start
        self.stepped_s = 0.0  # the furthest that it was seen from there

    @property
    def away_s(self) -> float:
        """For how long Redis has not answered; 0 while it does."""
        return time.perf_counter() - self.last_answer if self._unanswered else 0.0

    def answered(self) -> None:
        """Redis has answered just now: an outage, if there was one, is over."""
        now = time.perf_counter()
        if self._unanswered:
            self.away.append((self.last_answer, now, self._unanswered))
            self._unanswered = 0
        self.last_answer = now

    async def step(self) -> bool:
        """Read new records, and the depths when it is time; False when nothing was new.

        An outage of Redis is booked, not raised: it is part of what a run measures.
        """
        try:
            fresh = await self._read_records()
            now = time.perf_counter()
            if now - self._last_look >= self.look_every_s:
                self._last_look = now
                began = time.perf_counter()
                self.views.append(await look(self._client, self._commands))
                self.watch_clock(self.views[-1].at, began, time.perf_counter())
        except REDIS_ERRORS:
            self._unanswered += 1
            await asyncio.sleep(0.1)
            return False
        self.answered()
        if fresh:
            self.last_progress = self.last_answer
        return fresh > 0

    def watch_clock(self, at: float, began: float, ended: float) -> None:
        """Notice a server's clock that showed `at` between two moments of our own, if it may not.

        A clock that is set forth and back again has not drifted in the end.
        """
        if self.offset is None:
            return
        least, most = self.offset.server_time(began), self.offset.server_time(ended)
        self.stepped_s = max(self.stepped_s, max(0.0, at - most), min(0.0, at - least), key=abs)

    async def _read_records(self) -> int:
        if self._trim is not None:
            await self._drop_read()
        stop = self._position + READ - 1
        part = await self._client.lrange(self._records, self._position, stop)
        record = self.ledger.record
        for raw in part:
            record(raw)
        if part and not self._position:
            self._first = part[0]
        self._position += len(part)
        if self._position >= TRIM_AFTER:
            self._trim, self._position = self._position, 0
        return len(part)

    async def _drop_read(self) -> None:
        """Forget in Redis what we have read, so that the list stays short of its cap.

        The reply of a trim can be lost; only while the first record is the old one is it still
        to be done, so a record is never read twice.
        """
        if await self._client.lindex(self._records, 0) == self._first:
            await self._client.ltrim(self._records, self._trim, -1)
        self._trim = None

    async def read_all(self) -> None:
        """Read records until none is left.

        Raises:
            RedisError, OSError: Redis does not answer.
        """
        while await self._read_records():
            pass

    async def forget(self) -> None:
        """Drop the records in Redis: every one has been read and no task is open."""
        await self._client.delete(self._records)

    async def search(self) -> Whereabouts:
        """Find every unfinished task of this run: queue, in flight, delayed, dead letters.

        Tasks move while we look: forwards from list to hash to record, which the order of the
        search follows, and seldom back, which a second pass catches.

        Raises:
            RedisError, OSError: Redis does not answer.
        """
        await self.read_all()
        places: dict[int, str] = {}
        for _ in range(2):
            await self._one_pass(places)
            await self.read_all()
            missing = [n for n in self.ledger.open_numbers() if n not in places]
            if not missing:
                break
        await self._book_dead_letters(places)
        found = {n: place for n, place in places.items() if not self.ledger.outcome[n]}
        if len(found) < len(self.ledger.open_numbers()):
            self.ledger.accept_lost_claims()
        return self._whereabouts(found)

    def unsearched(self, why: str) -> Whereabouts:
        """Instead of a search: every unfinished task of this run may be anywhere."""
        unknown = len(self.ledger.open_numbers())
        return Whereabouts(0, 0, 0, 0, 0, unknown=unknown, unsearched=why if unknown else "")

    def _whereabouts(self, found: dict[int, str]) -> Whereabouts:
        counts: dict[str, Any] = {
            "waiting": 0,
            "in_flight": 0,
            "delayed": 0,
            "lost": 0,
            "never_arrived": 0,
        }
        for number in self.ledger.open_numbers():
            unanswered = self.ledger.acked[number] != self.ledger.acked[number]
            counts[found.get(number, "never_arrived" if unanswered else "lost")] += 1
        missing = (n for n in self.ledger.open_numbers() if n not in found)
        return Whereabouts(**counts, missing=tuple(missing))

    async def _one_pass(self, places: dict[int, str]) -> None:
        keys, client = self._keys, self._client
        for place, items in (
            ("waiting", list_items(client, keys.queue)),
            ("waiting", list_items(client, keys.arrivals)),
            ("waiting", list_items(client, keys.redeliver)),
            *[("waiting", list_items(client, key)) for key in await further_lists(client, keys)],
            ("delayed", zset_members(client, keys.delayed)),
            ("in_flight", hash_values(client, keys.inflight)),
        ):
            async for raw in items:
                number = self._number(raw)
                if number is not None:
                    places[number] = place

    def _number(self, raw: bytes) -> int | None:
        """The number of our task that `raw` is (a bare item or an entry that ends in one)."""
        match = self._mark.search(raw)
        if match and (number := int(match[1])) < len(self.ledger):
            return number
        return None

    async def _book_dead_letters(self, places: dict[int, str]) -> None:
        """Tasks reclaimed once too often leave no record, only a dead letter."""
        if self.ledger.all_done:
            return
        nan = float("nan")
        async for fields in dead_letters(self._client, self._keys.dead):
            number = self._number(fields.get(b"raw", b""))
            if number is not None and not self.ledger.outcome[number]:
                outcome = FAILED if fields.get(b"outcome") == b"failed" else DEAD
                self.ledger.finish(number, outcome, nan, nan, nan)
                places.pop(number, None)
