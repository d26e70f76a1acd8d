"""A rate of few is kept where it counts, at the handlers' start, however late an answer is."""

from __future__ import annotations

import asyncio
import time

import pytest

from taskrig import handler
from taskrig.authoring.registry import Registry, handlers_of
from taskrig.config.sections import TaskConfig
from taskrig.engine.execution import Execution, Pipeline
from taskrig.engine.inbox import Inbox
from taskrig.engine.limiter import ASKS, Limiter
from taskrig.engine.policies import Policies

PERIOD_S, LATE_S = 1.0, 0.05  # of 5/s: what a start may be late
ITEM = b'{"type": "kind"}'


@handler("kind", rate_limit="5/s")
async def kind(data):
    """Is never run here: that it may start is what counts."""


class Starts:
    """Stands for a runner: what the limiter lets start, and when; held ones are asked for again."""

    def __init__(self, queue) -> None:
        registry = Registry()
        registry.add(handlers_of(kind)[0])
        policies = Policies(registry, {"kind": TaskConfig()})
        self.times: list[float] = []
        self.held: list[Execution] = []
        self.limited: list[Execution] = []
        self._pipeline = Pipeline(policies)
        self._hand = queue.hand()
        self.limiter = Limiter(policies.limited(), self._hand.broker, self, Inbox())

    def begin(self, execution):
        self.times.append(time.monotonic())

    def refuse(self, execution):
        self.held.append(execution)

    async def claim(self):
        [delivery] = await self._hand.claim(1)
        execution = Execution(delivery)
        assert self._pipeline.prepare(execution)
        self.limited.append(execution)
        return execution

    async def turn(self, blocked_s=0.0):
        """One question; the loop hears the answer `blocked_s` late, as beside a bad handler."""
        if blocked_s:
            asyncio.get_running_loop().call_soon(time.sleep, blocked_s)
        await self.limiter.turn(0)

    async def start_one(self):
        """Ask for one task until it may start."""
        count = len(self.times)
        execution = await self.claim()
        while len(self.times) == count:
            await self.turn()
            if self.held:
                self.held.clear()
                execution.disposition = None
                self.limited.append(execution)


@pytest.mark.parametrize("late_s", [0.9 * LATE_S, 4 * LATE_S])
async def test_a_first_start_that_is_late_makes_no_room_for_a_sixth_in_its_period(queue, late_s):
    queue.push(*[ITEM] * 6)
    starts = Starts(queue)
    await starts.turn()  # connect
    await starts.claim()
    await starts.turn(blocked_s=late_s)
    while not starts.times:
        await starts.turn()
    for _ in range(5):
        await starts.start_one()
    assert starts.times[5] - starts.times[0] >= PERIOD_S
    assert starts.times[5] - starts.times[0] < 1.5 * PERIOD_S


async def test_an_answer_heard_too_late_starts_nothing_until_redis_knows_of_it(queue):
    queue.push(ITEM)
    starts = Starts(queue)
    await starts.turn()
    await starts.claim()
    await starts.turn(blocked_s=4 * LATE_S)
    assert starts.times == [] and starts.limiter.due
    first_due = float(queue.redis.get("{async_tasks}:rate:kind").split()[0])
    await starts.turn()
    assert len(starts.times) == 1
    due = float(queue.redis.get("{async_tasks}:rate:kind").split()[0])
    # Redis may decide a little after the loop has begun to be blocked.
    assert due - first_due >= 3 * LATE_S * 1e6, "the next is due from its real start on"


async def test_a_worker_that_hears_every_answer_too_late_starts_its_task_all_the_same(queue):
    queue.push(ITEM)
    starts = Starts(queue)
    await starts.turn()
    await starts.claim()
    for _ in range(ASKS):
        assert starts.times == []
        await starts.turn(blocked_s=2 * LATE_S)
    assert len(starts.times) == 1
