"""Looks at the queue: sets the gauges, and tells the run loop what is paused."""

from __future__ import annotations

import contextlib
import time

from taskrig.broker import Broker, Depths
from taskrig.config.sections import Config
from taskrig.engine.events import Dropped, LostData, WrongKeys
from taskrig.engine.inbox import Inbox, Look
from taskrig.engine.lease import Lease
from taskrig.engine.runner import Runner
from taskrig.errors import BrokerUnavailable
from taskrig.metrics import Metrics
from taskrig.runtime.logs import stay_seen

CLOCK_OFF_S = 1.0  # what a look may show beside what the lease knows; the lease then measures


class Gauges:
    """`depths`: how the queue stood at the latest look, None before the first."""

    def __init__(
        self,
        config: Config,
        broker: Broker,
        runner: Runner,
        inbox: Inbox,
        lease: Lease,
        metrics: Metrics,
    ) -> None:
        self._broker = broker
        self._runner = runner
        self._inbox = inbox
        self._lease = lease
        self._metrics = metrics
        self._lists = set(config.queue.sources) if config.queue.lists else set()
        self._front = (time.monotonic(), -1)  # since when it stands, and claims until then
        self._wrong = WrongKeys()
        self._dropped = Dropped(config.dead_letters)
        self._lost_data = LostData()
        self._held_names = runner.pipeline.policies.held_names()  # label in metrics -> name in keys
        metrics.held_by_type = dict.fromkeys(self._held_names, 0)
        self.depths: Depths | None = None

    async def first_look(self) -> None:
        """Know what is paused before anything is claimed; an outage is the consumer's to log."""
        with contextlib.suppress(BrokerUnavailable):
            await self._look()

    async def update(self) -> None:
        """Have the consumer look for tasks, and look at the queue. Raises BrokerUnavailable."""
        self._inbox.order(Look())
        stay_seen()
        await self._look()

    async def _look(self) -> None:
        asked_at = time.monotonic()
        seen = self.depths = await self._broker.run(self._broker.commands.look())
        self._compare_clock(asked_at, seen.now_s)
        metrics, now = self._metrics, time.monotonic()
        if seen.claimed != self._front[1] or seen.waiting == 0:
            self._front = (now, seen.claimed)
        # Before the depths: a scrape in between takes no old age for that of what waits now.
        metrics.oldest_age_s = self._age(seen, now - self._front[0])
        metrics.depth = {  # a new dict: a scrape in another thread sees all of it or nothing
            "waiting": seen.waiting,
            "in_flight": seen.in_flight,
            "delayed": seen.delayed,
            "dead": seen.dead,
            "paused": seen.aside,
        }
        metrics.held = seen.held
        for label, name in self._held_names.items():
            metrics.held_by_type[label] = seen.held_by_type.get(name, 0)
        self._wrong.seen(seen.wrong)
        if self._lists:
            metrics.lists = {name: seen.lists.get(name, 0) for name in self._lists}
        self._runner.pipeline.paused_types = seen.paused_types
        metrics.paused = int(seen.paused)
        metrics.trimmed = seen.trimmed
        self._dropped.seen(seen.trimmed)
        capacity = self._runner.capacity
        in_hand = len(capacity.running) + len(capacity.batched) + len(self._inbox.ended)
        self._lost_data.seen(seen.origin, seen.claimed, in_hand)
        if not seen.origin or not seen.lists.keys() >= self._lists:  # gone, or never written
            self._lost_data.origin = await self._broker.register()
        metrics.redis_up = 1
        metrics.looked = True

    def _compare_clock(self, asked_at: float, now_s: int) -> None:
        """A look that was asked for at `asked_at`, monotonic, found this time on the server."""
        first = self._lease.clock.at(asked_at) - 1  # now_s is a whole number
        last = self._lease.clock.at(time.monotonic())
        if last and not first - CLOCK_OFF_S <= now_s <= last + CLOCK_OFF_S:
            self._lease.renew_now()  # and so measure it

    @staticmethod
    def _age(seen: Depths, still_s: float) -> float:
        """Age of the next task, in seconds; a lower bound where it carries no time."""
        if seen.waiting == 0:
            return 0.0
        oldest_s = seen.oldest_s()
        return oldest_s if oldest_s is not None else still_s
