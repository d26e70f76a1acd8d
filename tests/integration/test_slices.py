"""What reads many entries reads few at first: nobody knows how large they are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import redis.asyncio

from taskrig.admin import DeadLetters, Inspector
from taskrig.broker.stride import SLICE_BYTES, Stride
from taskrig.engine.inbox import Inbox
from taskrig.engine.maintenance.recoverer import Recoverer
from taskrig.metrics import Metrics
from taskrig.task import Outcome
from taskrig_loadgen import queueview

LARGE = b"x" * 700_000
COUNT = 24
BOUND = 8 * len(LARGE)  # one step of HSCAN finds several by chance; ten are too many


def test_a_stride_begins_with_one_doubles_and_fits_the_bytes():
    stride, counts = Stride(100), []
    for _ in range(9):
        counts.append(stride.count)
        stride.saw(stride.count, stride.count * 10)
    assert counts == [1, 2, 4, 8, 16, 32, 64, 100, 100]
    stride.saw(100, 100 * SLICE_BYTES)
    assert stride.count == 1
    stride.saw(0, 0)
    assert stride.count == 2


@pytest.fixture
async def orphans(queue):
    """A worker beside one that died with large items in its hands."""
    queue.push(*[b"%02d" % n + LARGE for n in range(COUNT)])
    doomed = queue.hand("doomed")
    while await doomed.claim(5):
        pass
    queue.lapse("doomed")
    hand = queue.hand("w1", **{"worker.lease_s": "60s"})
    await hand.exchange()
    return hand


async def test_a_worker_reclaims_large_items_in_slices_of_a_few(queue, orphans):
    broker, sizes = orphans.broker, []

    async def run(command):
        part = await broker.run(command)
        if command.script.name == "reclaim":
            sizes.append(part.bytes)
        return part

    eyes = SimpleNamespace(run=run, commands=broker.commands, worker_id="w1")
    claims = SimpleNamespace(below=100)
    capacity = SimpleNamespace(claims=claims, running={}, batched={})
    lease = SimpleNamespace(clock=SimpleNamespace(at=lambda _: 0.0, steady_s=0.0))
    metrics = Metrics([], 1, "1", "0")
    recoverer = Recoverer(eyes, capacity, Inbox(), lease, None, metrics, 60.0)
    assert await recoverer._scan(200)
    assert metrics.reclaimed == COUNT
    assert sum(sizes) >= COUNT * len(LARGE) and max(sizes) <= BOUND


def test_an_operator_looks_at_them_and_reclaims_them_so_too(queue, orphans, monkeypatch):
    operator, sizes = Inspector(orphans.config, orphans.address), []
    run = operator.run

    def seen(command):
        reply = run(command)
        if command.script and command.script.name in ("orphans", "reclaim"):
            sizes.append(reply.bytes)
        return reply

    monkeypatch.setattr(operator, "run", seen)
    assert operator.orphans() == {"doomed": COUNT}
    assert operator.reclaim(lambda moved: None).moved == COUNT
    assert sum(sizes) >= 2 * COUNT * len(LARGE) and max(sizes) <= BOUND


async def test_the_search_of_a_load_generator_reads_them_so_too(queue, redis_url):
    keys = queue.keys
    for n in range(COUNT):
        queue.redis.lpush(keys.queue, LARGE)
        queue.redis.hset(keys.inflight, f"w:{n}", LARGE)
        queue.redis.zadd(keys.delayed, {b"%02d" % n + LARGE: n})
        queue.redis.xadd(keys.dead, {"raw": LARGE})
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        sizes = []
        for name in ("lrange", "hscan", "zscan", "xrange"):
            _watch(client, name, sizes)
        for read in (
            queueview.list_items(client, keys.queue),
            queueview.hash_values(client, keys.inflight),
            queueview.zset_members(client, keys.delayed),
            queueview.dead_letters(client, keys.dead),
        ):
            assert len([one async for one in read]) == COUNT
        assert sum(sizes) >= 4 * COUNT * len(LARGE) and max(sizes) <= BOUND


def _watch(client, name, sizes):
    ask = getattr(client, name)

    async def asked(*args, **more):
        reply = await ask(*args, **more)
        sizes.append(len(repr(reply)))
        return reply

    setattr(client, name, asked)


async def test_dead_letters_that_are_large_are_listed_and_moved_one_by_one(queue):
    queue.push(*[LARGE] * 6)
    hand = queue.hand()
    while got := await hand.claim(6):
        await hand.settle(Outcome.FAILED, *got)
    letters = DeadLetters(Inspector(hand.config, hand.address))
    assert [step.looked_at for step in letters.move("requeue", {})][:6] == [1, 2, 3, 4, 5, 6]
