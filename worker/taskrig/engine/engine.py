"""Builds the run loop with all that lives as long as it, runs it, and ends it in order.

The order of the end, inside out: consumer, duties, lease (renewed until the last task is settled),
connections.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial

from taskrig.authoring.registry import Registry
from taskrig.broker import CLAIM_ITEMS, Address, Broker, Depths
from taskrig.config.sections import Config
from taskrig.cron import parse_line
from taskrig.engine.batches import Batches
from taskrig.engine.capacity import Capacity, Outlook
from taskrig.engine.consumer import Consumer
from taskrig.engine.dispositions import RELEASED
from taskrig.engine.events import Events
from taskrig.engine.execution import Execution, Pipeline
from taskrig.engine.farewell import Farewell
from taskrig.engine.inbox import Fail, Inbox
from taskrig.engine.lease import Lease
from taskrig.engine.limiter import Limiter
from taskrig.engine.maintenance.duty import repeat
from taskrig.engine.maintenance.gauges import Gauges
from taskrig.engine.maintenance.heartbeat import Heartbeat
from taskrig.engine.maintenance.recoverer import Recoverer
from taskrig.engine.maintenance.returner import Returner
from taskrig.engine.outage import Outage
from taskrig.engine.policies import Policies
from taskrig.engine.processes import Launcher, Processes, memory_of
from taskrig.engine.runner import Elsewhere, Runner
from taskrig.engine.scheduler import Scheduler
from taskrig.engine.threads import Threads
from taskrig.errors import BrokerUnavailable, ended_with
from taskrig.metrics import BATCH_BUCKETS, Buckets, Metrics

log = logging.getLogger("taskrig")

CLOCK_S = 0.5  # how long the first task may wait until the server's clock is known
LEAVE_S = 2.0  # how long Redis may take to hear that the worker leaves


class Engine:
    """One worker's run loop. To be made, and used, in the event loop that runs it."""

    def __init__(
        self,
        config: Config,
        worker_id: str,
        address: Address,
        registry: Registry,
        metrics: Metrics,
        lease: Lease,
        launcher: Launcher | None,
        on_drain: Callable[[str], None],
    ) -> None:
        """`launcher` makes processes for tasks, where types run in some. `on_drain` is called with
        the reason when the worker is to drain."""
        worker = config.worker
        policies = Policies.of(registry, config)
        batched = policies.batched()
        _count(policies, metrics)
        limited = policies.limited()
        unique = any(policy.limits is not None and policy.limits.unique for policy in limited)
        self.limited_names = [p.limits.name for p in limited if p.limits is not None]
        self.lease = lease
        self.inbox = inbox = Inbox()
        self._config = config
        self._metrics = metrics
        self._broker = broker = Broker(config, worker_id, address, positions=unique)
        events = Events(metrics, config.log, lease.clock, registry)
        pipeline = Pipeline(policies, registry.middleware, worker.max_deliveries)
        capacity = Capacity(worker.max_concurrent, worker.max_tasks, CLAIM_ITEMS)
        processes = _processes(launcher, worker.process_slots, inbox, metrics)
        gathers = (pipeline, capacity, inbox, worker.max_deliveries)
        batches = Batches(*gathers) if batched else None
        elsewhere = Elsewhere(Threads(registry.at_thread_end), processes, batches)
        runner = self._runner = Runner(
            *(pipeline, capacity, inbox, events, elsewhere, worker.max_deliveries)
        )
        limiter = Limiter(limited, broker, runner, inbox) if limited else None
        outage = Outage(config.redis.max_outage_s, worker.lease_s, events)
        outlook = Outlook(worker.interval_s, inbox)
        self.consumer = Consumer(broker, runner, limiter, lease, outage, outlook, inbox, on_drain)
        self.heartbeat = Heartbeat(metrics)
        self.gauges = Gauges(config, broker, runner, inbox, lease, metrics)
        self._ended = asyncio.Event()
        recoverer = Recoverer(broker, capacity, inbox, lease, outage, metrics, worker.lease_s)
        returner = Returner(broker, policies, inbox, self._ended)
        self._duties: list[Callable[[], Awaitable[None]]] = [
            self.gauges.update,
            partial(self._with_depths, returner.give_back),
            partial(self._with_depths, recoverer.recover),
        ]

    @property
    def running(self) -> list[Execution]:
        """What runs now; safe to ask for in other threads."""
        return list(self._runner.capacity.running.values())

    def unstoppable(self) -> int:
        """Handlers and threads that still run now, although their tasks have ended here."""
        overdue = list(self._runner.capacity.overdue)
        left_behind = sum(not work.done() for work in self._runner.left_behind)
        return left_behind + sum(execution.thread is not None for execution in overdue)

    @property
    def processes(self) -> Processes | None:
        """The processes for tasks, where types run in some."""
        return self._runner.elsewhere.processes

    def in_hand(self) -> tuple[int, list[str]]:
        """(tasks that are not settled, tags of those that can be released); from any thread."""
        capacity, ended = self._runner.capacity, list(self.inbox.ended)
        open_tags = [*list(capacity.running), *list(capacity.batched)]
        back = [one.delivery.tag for one in ended if one.disposition is RELEASED]
        return len(open_tags) + len(ended), [*open_tags, *back]

    async def run(self) -> None:
        """Serve until drained.

        Raises:
            BrokerUnavailable: Redis was away for longer than allowed.
            UsageError: a key of ours was replaced by one of another type.
        """
        loop, worker = asyncio.get_running_loop(), self._config.worker
        self._metrics.redis_up = 1
        self.lease.start(lambda fault: loop.call_soon_threadsafe(self.inbox.order, Fail(fault)))
        await self.gauges.first_look()
        await self._know_the_time()
        every_s = max(0.05, min(worker.interval_s, 1.0, worker.lease_s / 4))
        schedule = [parse_line(line) for line in self._config.schedule]
        scheduler = Scheduler(
            *(schedule, worker.schedule_grace_s, self._broker, self._metrics),
            lambda: self.lease.clock.at(time.monotonic()),
        )
        outage, metrics = self.consumer.outage, self._metrics
        parts = [loop.create_task(scheduler.run())]
        parts += [
            loop.create_task(repeat(duty, every_s, self._ended, outage, metrics))
            for duty in self._duties
        ]
        farewell = Farewell(self.consumer, self._broker)
        for part in parts:
            part.add_done_callback(self._part_ended)
        try:
            consuming = loop.create_task(self.consumer.run())  # its own: fewer frames a step
            await asyncio.wait([consuming])
            ended = ended_with(consuming)
            if ended is not None:
                raise ended
        finally:
            self._ended.set()
            scheduler.stop()
            farewell.stop()
            if outage.since is not None:
                self._broker.abandon("it is away, and the worker ends")
            await asyncio.wait(parts, timeout=2)
            self.heartbeat.stop()
            await self._runner.elsewhere.close()
            await self._leave()

    async def _know_the_time(self) -> None:
        """Before the first task, whose times are told by the server's clock."""
        for _ in range(int(CLOCK_S * 500)):
            if self.lease.clock.known:
                break
            await asyncio.sleep(0.002)

    async def _with_depths(self, duty: Callable[[Depths], Awaitable[None]]) -> None:
        if self.gauges.depths is not None:
            await duty(self.gauges.depths)

    def _part_ended(self, part: asyncio.Task[None]) -> None:
        fault = ended_with(part)
        if fault is not None:
            self.inbox.order(Fail(fault))

    async def _leave(self) -> None:
        self.lease.stop()
        if self.consumer.outage.since is None:
            for _ in range(200):  # not in the loop's threads: a handler may have ended those
                if self.lease.renewing:
                    await asyncio.sleep(0.01)
            why = f"it did not hear within {LEAVE_S:g} s that the worker leaves"
            overdue = asyncio.get_running_loop().call_later(LEAVE_S, self._broker.abandon, why)
            try:
                await self._broker.run(self._broker.commands.leave(self._broker.worker_id))
            except BrokerUnavailable as error:
                log.warning("could not sign off, the lease will run out: %s", error)
            finally:
                overdue.cancel()
        await self._broker.close()


def _count(policies: Policies, metrics: Metrics) -> None:
    """Give each policy the metrics of its type."""
    for policy in policies.values():
        policy.numbers = metrics.of(policy.label)
        if policy.batch is not None:
            policy.numbers.batches = Buckets(BATCH_BUCKETS)


def _processes(
    launcher: Launcher | None, slots: int | None, inbox: Inbox, metrics: Metrics
) -> Processes | None:
    """The pool of processes for tasks, where types run in some; None: as many slots as cores."""
    if launcher is None:
        return None
    made = Processes(launcher, slots or len(os.sched_getaffinity(0)), inbox, metrics)
    metrics.processes = partial(memory_of, made)
    return made
