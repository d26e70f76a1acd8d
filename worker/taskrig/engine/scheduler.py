"""Enqueues the tasks of config.yaml's `schedule` when their time comes.

Every worker that has the schedule tries; Redis lets one of them through for each time. What was
missed (no worker, no Redis) is made up for within the grace time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from taskrig.broker import Broker, Scheduled
from taskrig.cron import Entry
from taskrig.engine.events import log
from taskrig.errors import BrokerUnavailable
from taskrig.metrics import Metrics

LOOK_S = 1.0  # the longest pause: the server's clock may be set
SET_BACK_S = 2.0  # by less than this, two workers' views of the server's clock may differ
COUNT_MOST = 1000  # of the missed times of one entry: a year of minutes would take seconds
COUNT_SLICE = 50  # of them, between two turns of the event loop: about 2 ms


class Scheduler:
    """One worker's part in the schedule."""

    def __init__(
        self,
        entries: Sequence[Entry],
        grace_s: float,
        broker: Broker,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """`clock`: the server's time in Unix seconds, 0.0 while it is not known."""
        self._entries = entries
        self._grace_s = grace_s
        self._broker = broker
        self._metrics = metrics
        self._clock = clock
        self._due: dict[str, float] = {}
        self._now = 0.0  # at the last tick
        self._ended = asyncio.Event()

    def stop(self) -> None:
        """Ask `run` to end."""
        self._ended.set()

    async def run(self) -> None:
        """Enqueue what gets due, until `stop`."""
        while self._entries and not self._ended.is_set():
            pause_s = LOOK_S
            try:
                pause_s = await self.tick()
            except BrokerUnavailable as error:
                self._metrics.count_error(error.kind)  # the consumer tells of it
            try:
                async with asyncio.timeout(pause_s):
                    await self._ended.wait()
            except TimeoutError:
                pass

    async def tick(self) -> float:
        """Enqueue all that is due now; returns the seconds until it is worth to look again.

        Raises:
            BrokerUnavailable: the next tick makes up for it.
        """
        now = self._clock()
        if not now:
            return 0.05
        if now < self._now - SET_BACK_S:
            self._due.clear()
        self._now = now
        missed: dict[str, int] = {}
        pause_s = LOOK_S
        for entry in self._entries:
            due = self._due.get(entry.name)
            if due is None:
                due = await self._begin(entry, now)
            if due < now - self._grace_s:
                missed[entry.name], due = await self._pass_over(entry, due, now - self._grace_s)
            while due <= now and not self._ended.is_set():
                await self._enqueue(entry, due)
                due = self._due[entry.name] = _next(entry, due)
            pause_s = min(pause_s, due - now)
        if missed:
            _say_missed(missed, self._grace_s)
        return max(0.001, pause_s)

    async def _begin(self, entry: Entry, now: float) -> float:
        """The first time to see to: after the last one enqueued.

        One that is ahead of us was enqueued by a clock that has been set back since. Where only one
        time would be left out until then it holds, so that a small correction runs nothing twice.
        """
        floor = math.floor(now)
        last = (await self._schedule(entry, floor)).last
        if last > now + SET_BACK_S and last >= _next(entry, _next(entry, now)):
            last = (await self._schedule(entry, floor, instead_of=int(last))).last
        due = self._due[entry.name] = _next(entry, last)
        return due

    async def _pass_over(self, entry: Entry, due: float, until: float) -> tuple[int, float]:
        """Leave out `due` and what follows before `until`; (how many, the next one)."""
        count = 0
        for _ in entry.times(due - 1, until):
            count += 1
            if count == COUNT_MOST:
                break
            if count % COUNT_SLICE == 0:
                await asyncio.sleep(0)  # the event loop has others to serve
        after = self._due[entry.name] = _next(entry, math.ceil(until) - 1)
        return count, after

    async def _enqueue(self, entry: Entry, due: float) -> None:
        done = await self._schedule(entry, math.floor(due), entry.item(due))
        if done.enqueued:
            log.info("schedule: enqueued %s", entry.name)

    async def _schedule(
        self, entry: Entry, at: int, item: bytes = b"", instead_of: int | None = None
    ) -> Scheduled:
        schedule = self._broker.commands.schedule(entry.name, at, item, instead_of)
        return await self._broker.run(schedule)


def _say_missed(missed: dict[str, int], grace_s: float) -> None:
    """One line for all entries."""
    count, most = sum(missed.values()), max(missed, key=lambda name: missed[name])
    more = "at least " if COUNT_MOST in missed.values() else ""
    log.warning(
        "schedule: left out %s%d times that were missed by more than %g s (worker.schedule_grace), "
        "most of them of %s",
        more,
        count,
        grace_s,
        most,
    )


def _next(entry: Entry, at: float) -> float:
    found = entry.next_after(at) if at < math.inf else None
    return math.inf if found is None else found
