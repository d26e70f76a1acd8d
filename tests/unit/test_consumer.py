"""The run loop's own decisions, through each of its transitions, without a server."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from taskrig import handler
from taskrig.authoring.registry import Registry, handlers_of
from taskrig.broker import Arrival
from taskrig.config.sections import LogConfig
from taskrig.engine.capacity import Capacity, Outlook
from taskrig.engine.clock import ServerClock
from taskrig.engine.consumer import Consumer, State
from taskrig.engine.events import Events
from taskrig.engine.execution import Pipeline
from taskrig.engine.farewell import Farewell
from taskrig.engine.inbox import Drain, Fail, Inbox, Look, Release
from taskrig.engine.outage import Outage
from taskrig.engine.policies import Policies
from taskrig.engine.runner import Elsewhere, Runner
from taskrig.engine.threads import Threads
from taskrig.errors import BrokerUnavailable
from taskrig.metrics import Metrics
from taskrig.task import Delivery
from tests.support.fake_broker import FakeBroker, reply
from tests.support.waiting import until_async

PLAIN, GATED = b'{"type": "plain"}', b'{"type": "gated"}'


class FakeLease:
    gap_at = 0.0
    renewed_at = 0.0
    clock = ServerClock()

    def observe(self, gap):
        self.renewed_at = time.monotonic()
        if gap:
            self.gap_at = self.renewed_at


class Loop:
    """A consumer at a fake broker. Handlers: plain ends at once, gated when the gate is opened."""

    def __init__(self, concurrent=2, max_tasks=None, max_outage_s=60.0):
        self.ran = []
        self.gate = asyncio.Event()
        registry = Registry()

        @handler("plain")
        async def plain(data):
            self.ran.append("plain")

        @handler("gated")
        async def gated(data):
            self.ran.append("gated")
            await self.gate.wait()

        for function in (plain, gated):
            registry.add(handlers_of(function)[0])
        self.broker = FakeBroker()
        self.inbox = Inbox()
        self.lease = FakeLease()
        self.metrics = Metrics(["plain", "gated"], concurrent, "0", "0")
        events = Events(self.metrics, LogConfig(tasks="none"), ServerClock(), registry)
        self.capacity = Capacity(concurrent, max_tasks, 1000)
        pipeline = Pipeline(Policies(registry, {}))
        runner = Runner(
            *(pipeline, self.capacity, self.inbox, events, Elsewhere(Threads(), None)),
            max_deliveries=3,
        )
        self.outage = Outage(max_outage_s, 15.0, events)
        self.drains = []
        self.consumer = Consumer(
            *(self.broker, runner, None, self.lease, self.outage, Outlook(1.0, self.inbox)),
            *(self.inbox, self._drain),
        )
        self.work = asyncio.get_running_loop().create_task(self.consumer.run())

    def _drain(self, why):
        self.drains.append(why)
        self.inbox.order(Drain(5.0))

    def push(self, *items):
        self.broker.push(*items)
        self.inbox.order(Look())

    async def ran_all(self, *kinds):
        await until_async(lambda: self.ran == list(kinds), what=f"{kinds} ran")

    async def waits(self):
        await until_async(lambda: self.broker.move.pending, what="it waits for work")

    async def settled(self, *expected):
        await until_async(lambda: self.outcomes() == list(expected), what=f"{expected} settled")

    def outcomes(self):
        return [
            (one, "succeeded") if isinstance(one, str) else (one.tag, one.outcome.value)
            for one in self.broker.settled
        ]


@asynccontextmanager
async def serving(**settings):
    loop = Loop(**settings)
    try:
        yield loop
    finally:
        if not loop.work.done():
            loop.gate.set()
            loop.inbox.order(Release())
            await asyncio.wait([loop.work], timeout=5)


async def test_a_task_is_claimed_run_and_settled_and_then_it_waits():
    async with serving() as loop:
        await loop.waits()
        assert loop.consumer.state is State.SERVING
        loop.push(PLAIN)
        await until_async(lambda: [kind for _, kind in loop.outcomes()] == ["succeeded"])
        await loop.waits()
        assert loop.ran == ["plain"]


async def test_a_claim_rides_on_the_blocking_move_and_its_task_runs():
    async with serving() as loop:
        await loop.waits()
        want, number = loop.broker.move.holds[-1]
        assert want == 1
        loop.broker.move.answer(Arrival(True, reply(Delivery(f"w:{number}", PLAIN))))
        await loop.settled((f"w:{number}", "succeeded"))


async def test_what_a_bare_move_brought_is_passed_on_when_every_slot_is_taken():
    async with serving(concurrent=1) as loop:
        await loop.waits()
        loop.broker.move.answer(Arrival(True, reply(Delivery("w:9", GATED))))
        await loop.ran_all("gated")
        await until_async(lambda: loop.broker.move.passed_on == 1)


async def test_no_more_is_asked_for_than_there_are_slots():
    async with serving(concurrent=2) as loop:
        await loop.waits()
        loop.push(GATED, GATED, GATED)
        await loop.ran_all("gated", "gated")
        loop.push()
        await until_async(lambda: loop.broker.asked[-1] == 0)
        assert len(loop.broker.waiting) == 1


async def test_a_lost_reply_is_asked_after_before_anything_else_is_claimed():
    async with serving() as loop:
        await loop.waits()
        loop.broker.in_flight = dict.fromkeys(range(1, 50), PLAIN)
        loop.broker.next = [BrokerUnavailable("the reply was lost")]
        loop.inbox.order(Look())
        await until_async(lambda: loop.ran != [], what="the task of the lost claim runs")
        assert loop.broker.found, "its tags were asked for"
        assert loop.outage.since is None and loop.outage.suspicious_until > 0


async def test_a_call_that_never_left_this_host_brought_nothing():
    async with serving() as loop:
        await loop.waits()
        loop.broker.exchange.sent = False
        loop.broker.next = [BrokerUnavailable("refused")]
        loop.inbox.order(Look())
        await until_async(lambda: loop.broker.next == [] and loop.outage.since is None)
        assert loop.broker.found == []


async def test_running_handlers_go_on_while_redis_is_away_and_are_settled_once_after_it():
    async with serving() as loop:
        await loop.waits()
        loop.push(GATED)
        await loop.ran_all("gated")
        loop.broker.next = [BrokerUnavailable("away")] * 3
        loop.inbox.order(Look())
        await until_async(lambda: loop.consumer.state is State.AWAY)
        loop.gate.set()
        await until_async(lambda: len(loop.outcomes()) == 1)
        assert loop.outcomes()[0][1] == "succeeded"
        assert any(loop.broker.one_by_one), "after a lost reply each tag is named"
        assert loop.consumer.state is State.SERVING


async def test_an_outage_longer_than_allowed_ends_it_with_the_number_of_tasks_that_stay():
    async with serving(max_outage_s=0.0) as loop:
        await loop.waits()
        loop.broker.next = [BrokerUnavailable("away")]
        loop.inbox.order(Look())
        with pytest.raises(BrokerUnavailable, match="0 tasks stay in flight"):
            await asyncio.wait_for(loop.work, 5)


async def test_after_a_gap_in_the_lease_each_tag_is_settled_by_name():
    async with serving() as loop:
        await loop.waits()
        loop.push(GATED)
        await loop.ran_all("gated")
        loop.broker.next = [reply(gap=True)]
        loop.inbox.order(Look())
        await until_async(lambda: loop.lease.gap_at > 0)
        loop.gate.set()
        await until_async(lambda: loop.outcomes() != [])
        assert any(loop.broker.one_by_one)


async def test_a_claim_that_another_worker_has_taken_is_counted_as_lost_and_not_as_done():
    async with serving(max_tasks=5) as loop:
        await loop.waits()
        loop.push(GATED)
        await loop.ran_all("gated")
        tag = next(iter(loop.capacity.running))
        loop.broker.next = [reply(missing=[tag.encode()])]
        loop.gate.set()
        await until_async(lambda: loop.metrics.claims_lost == 1)
        assert loop.capacity.counted == 0
        assert loop.metrics.totals()["succeeded"] == 0


async def test_while_the_queue_is_paused_nothing_waits_for_work():
    async with serving() as loop:
        await loop.waits()
        holds = len(loop.broker.move.holds)
        loop.broker.why = "paused"
        loop.broker.move.answer(Arrival(True, reply(why="paused")))
        asked = len(loop.broker.asked)
        await until_async(lambda: len(loop.broker.asked) > asked)
        assert len(loop.broker.move.holds) == holds
        loop.broker.why = ""
        loop.push(PLAIN)
        await loop.ran_all("plain")


async def test_a_task_on_its_last_delivery_runs_with_nothing_beside_it():
    async with serving(concurrent=5) as loop:
        await loop.waits()
        last = Delivery("w:90", GATED, deliveries=2)
        loop.broker.next = [reply(last)]
        loop.inbox.order(Look())
        await loop.ran_all("gated")
        loop.broker.waiting.append(PLAIN)
        loop.inbox.order(Look())
        await until_async(lambda: loop.broker.asked[-1] == 0)
        assert loop.ran == ["gated"] and loop.broker.waiting == [PLAIN]
        loop.gate.set()
        loop.inbox.order(Look())
        await loop.ran_all("gated", "plain")


async def test_room_is_made_for_a_task_that_must_run_alone():
    async with serving(concurrent=3) as loop:
        await loop.waits()
        loop.push(GATED)
        await loop.ran_all("gated")
        loop.broker.why = loop.broker.move.why = "alone"
        loop.inbox.order(Look())
        await until_async(lambda: loop.capacity.making_room)
        assert loop.capacity.free() == 0 and loop.capacity.free(looking=True) == 1


async def test_a_drain_lets_what_runs_end_claims_nothing_and_ends():
    async with serving() as loop:
        await loop.waits()
        loop.push(GATED)
        await loop.ran_all("gated")
        loop.inbox.order(Drain(60.0))
        await until_async(lambda: loop.consumer.state is State.DRAINING)
        loop.push(PLAIN)
        loop.gate.set()
        await asyncio.wait_for(loop.work, 5)
        assert loop.consumer.state is State.ENDED
        assert [kind for _, kind in loop.outcomes()] == ["succeeded"]
        assert loop.broker.waiting == [PLAIN]


async def test_a_drain_that_takes_too_long_gives_back_what_runs():
    async with serving() as loop:
        await loop.waits()
        loop.push(GATED, GATED)
        await loop.ran_all("gated", "gated")
        loop.inbox.order(Drain(0.01))
        await asyncio.wait_for(loop.work, 5)
        newest_first = [kind for _, kind in loop.outcomes()]
        assert newest_first == ["released", "released"]
        numbers = [int(tag.split(":")[1]) for tag, _ in loop.outcomes()]
        assert numbers == sorted(numbers, reverse=True), "the oldest goes to the front last"


async def test_what_a_claim_brings_after_the_drain_began_is_given_back_unrun():
    async with serving() as loop:
        await loop.waits()
        _, number = loop.broker.move.holds[-1]
        loop.capacity.claiming = False
        loop.broker.move.answer(Arrival(True, reply(Delivery(f"w:{number}", PLAIN))))
        await asyncio.wait_for(loop.work, 5)
        assert loop.outcomes() == [(f"w:{number}", "released")] and loop.ran == []


async def test_a_drain_while_redis_is_away_waits_for_the_outcomes_to_be_handed_in():
    async with serving() as loop:
        await loop.waits()
        loop.push(GATED)
        await loop.ran_all("gated")
        loop.broker.next = [BrokerUnavailable("away")] * 3
        loop.inbox.order(Look())
        await until_async(lambda: loop.outage.since is not None)
        loop.inbox.order(Drain(60.0))
        loop.gate.set()
        await asyncio.wait_for(loop.work, 10)
        assert [kind for _, kind in loop.outcomes()] == ["succeeded"]


async def test_max_tasks_asks_for_a_drain_when_the_last_one_is_settled():
    async with serving(max_tasks=1) as loop:
        loop.push(PLAIN, PLAIN)
        await asyncio.wait_for(loop.work, 5)
        assert loop.drains[0] == "max_tasks (1) is reached"
        assert loop.ran == ["plain"] and loop.broker.waiting == [PLAIN]


async def test_an_operators_drain_is_heard():
    async with serving() as loop:
        await loop.waits()
        loop.broker.next = [reply(why="drain")]
        loop.inbox.order(Look())
        await asyncio.wait_for(loop.work, 5)
        assert loop.drains == ["an operator asked for it"]


async def test_a_part_of_the_worker_that_breaks_ends_the_loop_with_its_error():
    async with serving() as loop:
        await loop.waits()
        loop.inbox.order(Fail(RuntimeError("the lease thread died")))
        with pytest.raises(RuntimeError, match="the lease thread died"):
            await asyncio.wait_for(loop.work, 5)


async def test_a_silent_redis_is_given_up_only_when_nothing_else_keeps_the_worker(monkeypatch):
    monkeypatch.setattr("taskrig.engine.farewell.SILENT_S", 0.05)
    async with serving() as loop:
        await loop.waits()
        looks = []
        monkeypatch.setattr(Farewell, "_look", _counted(Farewell._look, looks))
        farewell = Farewell(loop.consumer, loop.broker)
        await until_async(lambda: len(looks) > 20, what="it looked for longer than that, idle")
        assert loop.broker.abandoned == ""
        loop.push(GATED)
        await loop.ran_all("gated")
        loop.inbox.order(Drain(60.0))
        await until_async(lambda: loop.consumer.state is State.DRAINING)
        seen = len(looks)
        await until_async(lambda: len(looks) > seen + 20, what="... and while a task runs")
        assert loop.broker.abandoned == ""
        loop.inbox.order(Release())
        await until_async(lambda: "the worker ends" in loop.broker.abandoned)
        farewell.stop()


def _counted(look, looks):
    def counted(self):
        looks.append(1)
        look(self)

    return counted
