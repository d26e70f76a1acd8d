"""Every interval: look at the queue, set the gauges, bring back what dead workers held."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol

from worker.broker import Broker, Depths
from worker.config import Config
from worker.errors import BrokerUnavailable
from worker.journal import Dropped, LostData, WrongKeys
from worker.logs import stay_seen
from worker.metrics import Metrics
from worker.plan import Plans
from worker.reclaimer import Reclaimer

HEARTBEAT_S = 0.25


class OutageView(Protocol):
    """Whether Redis is away."""

    since: float | None


class ConsumerView(Protocol):
    """What upkeep needs of the consumer."""

    @property
    def outage(self) -> OutageView: ...

    def look_again(self) -> None: ...
    def pause_types(self, types: frozenset[str]) -> None: ...
    def known_tags(self) -> tuple[int, list[str]]: ...


class Upkeep:
    """The worker's housekeeping, in the event loop."""

    def __init__(
        self,
        config: Config,
        broker: Broker,
        consumer: ConsumerView,
        metrics: Metrics,
        reclaimer: Reclaimer,
        plans: Plans,
    ) -> None:
        worker = config.worker
        self._broker = broker
        self._consumer = consumer
        self._metrics = metrics
        self._reclaimer = reclaimer
        self._lists = set(config.queue.sources) if config.queue.lists else set()
        self._every_s = max(0.05, min(worker.interval_s, 1.0, worker.lease_s / 4))
        self._moved_at, self._claimed = time.monotonic(), -1
        self._ended = asyncio.Event()
        self.depths: Depths | None = None
        self._wrong = WrongKeys()
        self._dropped = Dropped(config.dead_letters)
        self._lost_data = LostData()
        self._plans = plans
        self._held_names = plans.held_names()  # label in metrics -> name in keys
        metrics.held_by_type = dict.fromkeys(self._held_names, 0)
        self.beat_at = time.monotonic()  # shows that the event loop turns

    def stop(self) -> None:
        """Ask `run` to end."""
        self._ended.set()

    async def first_look(self) -> None:
        """Know what is paused before anything is claimed; Redis away is the consumer's to tell."""
        with contextlib.suppress(BrokerUnavailable):
            await self._look()

    async def run(self) -> None:
        """Keep up until `stop`. Redis being away is the consumer's to tell; here it only waits."""
        loop = asyncio.get_running_loop()
        self._beat(loop, loop.time())
        while not self._ended.is_set():
            self._consumer.look_again()
            stay_seen()
            if self._consumer.outage.since is None:
                try:
                    await self._look()
                    await self._bring_back()
                    if self.depths is not None:
                        await self._reclaimer.turn(self.depths)
                except BrokerUnavailable as error:
                    self._metrics.count_error(error.kind)
            try:
                async with asyncio.timeout(self._every_s):
                    await self._ended.wait()
            except TimeoutError:
                pass

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        lag_s = max(0.0, loop.time() - due)
        self._metrics.loop_lag_s = max(lag_s, self._metrics.loop_lag_s * 0.9)
        self.beat_at = time.monotonic()
        if not self._ended.is_set():
            due = loop.time() + HEARTBEAT_S
            loop.call_at(due, self._beat, loop, due)

    async def _look(self) -> None:
        asked_at = time.monotonic()
        seen = self.depths = await self._broker.look()
        self._reclaimer.compare_clock(asked_at, seen.now_s)
        self._metrics.depth = {  # anew: a scrape in another thread sees all of it or nothing
            "waiting": seen.waiting, "in_flight": seen.in_flight, "delayed": seen.delayed,
            "dead": seen.dead, "paused": seen.aside,
        }  # fmt: skip
        self._metrics.held = seen.held
        for label, name in self._held_names.items():
            self._metrics.held_by_type[label] = seen.held_by_type.get(name, 0)
        self._wrong.seen(seen.wrong)
        if self._lists:
            self._metrics.lists = {name: seen.lists.get(name, 0) for name in self._lists}
        self._consumer.pause_types(seen.paused_types)
        self._metrics.paused = int(seen.paused)
        self._metrics.trimmed = seen.trimmed
        self._dropped.seen(seen.trimmed)
        self._lost_data.seen(seen.origin, seen.claimed, lambda: len(self._consumer.known_tags()[1]))
        if not seen.origin or not seen.lists.keys() >= self._lists:  # gone, or never written
            self._lost_data.origin = await self._broker.register()
        self._metrics.redis_up = 1
        now = time.monotonic()
        if seen.claimed != self._claimed or seen.waiting == 0:
            self._moved_at, self._claimed = now, seen.claimed
        self._metrics.oldest_age_s = self._age(seen, now - self._moved_at)
        self._metrics.looked = True

    @staticmethod
    def _age(seen: Depths, still_s: float) -> float:
        """Age of the next task, in seconds; a lower bound where it carries no time."""
        if seen.waiting == 0:
            return 0.0
        oldest_s = seen.oldest_s()
        return oldest_s if oldest_s is not None else still_s

    async def _bring_back(self) -> None:
        """Give back what was set aside of types that are paused no more, or have no limits now.

        `worker resume` does the first itself; here is what it broke off, and what a worker that
        had not yet seen the end of the pause set aside after it.
        """
        if self.depths is None:
            return
        free = [name for name in self.depths.held_by_type if self._plans.lets_go(name)]
        if free:
            limited = await self._broker.limited_names()
            free = [name for name in free if name not in limited]
        for name in (*self.depths.left_over, *free):
            left = 1
            while left and not self._ended.is_set():
                _, left = await self._broker.bring_back(name)
            self._consumer.look_again()
