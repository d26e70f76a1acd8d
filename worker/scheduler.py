"""Enqueues the tasks of config.yaml's `schedule` when their time comes.

Every worker that has the schedule tries; Redis lets one of them through for each time. What was
missed (no worker, no Redis) is made up for within the grace time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from worker.broker import Broker
from worker.errors import BrokerUnavailable
from worker.journal import log
from worker.metrics import Metrics
from worker.schedule import Entry

LOOK_S = 1.0  # the longest pause: the server's clock may be set


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
        pause_s = LOOK_S
        for entry in self._entries:
            known = self._due.get(entry.name)
            due = known if known is not None else await self._begin(entry, now)
            while due <= now:
                if due >= now - self._grace_s:
                    await self._enqueue(entry, due)
                else:
                    log.warning("schedule: %s missed its time by %.0f s", entry.name, now - due)
                due = self._due[entry.name] = _next(entry, due)
            pause_s = min(pause_s, due - now)
        return max(0.001, pause_s)

    async def _begin(self, entry: Entry, now: float) -> float:
        """The first time to see to: after the last one enqueued, within the grace time."""
        _, last = await self._broker.schedule(entry.name, math.floor(now), b"")
        due = self._due[entry.name] = _next(entry, max(last, now - self._grace_s))
        return due

    async def _enqueue(self, entry: Entry, due: float) -> None:
        enqueued, _ = await self._broker.schedule(entry.name, math.floor(due), entry.item(due))
        if enqueued:
            log.info("schedule: enqueued %s", entry.name)


def _next(entry: Entry, at: float) -> float:
    found = entry.next_after(at)
    return math.inf if found is None else found
