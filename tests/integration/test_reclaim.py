"""Reclaiming: what no live worker holds comes back, and nothing else does."""

from __future__ import annotations

from taskrig.task import Outcome
from tests.support.waiting import until_async


async def holder(queue, *items, worker_id="w1", **settings):
    """A worker that has claimed these items."""
    queue.push(*items)
    hand = queue.hand(worker_id, **settings)
    await hand.claim(len(items))
    return hand


async def test_the_tasks_of_a_live_worker_are_not_touched(queue):
    await holder(queue, b"a", b"b")
    other = queue.hand("w2")
    await other.exchange()
    assert await other.scan() == 0
    assert len(queue.in_flight()) == 2


async def test_the_tasks_of_a_dead_worker_come_back_with_one_delivery_counted(queue):
    await holder(queue, b"a", b"b", b"c")
    queue.lapse("w1")
    other = queue.hand("w2")
    await other.exchange()
    assert await other.scan() == 3
    again = await other.claim(3)
    assert [(one.raw, one.deliveries) for one in again] == [(b"a", 1), (b"b", 1), (b"c", 1)]
    assert queue.total("reclaimed") == 3
    queue.assert_conserved()


async def test_a_thousand_identical_orphans_all_come_back(queue):
    queue.push(*[b"same"] * 1000)
    hand = queue.hand()
    while await hand.claim(400):
        pass
    queue.lapse("w1")
    other = queue.hand("w2")
    await other.exchange()
    await other.scan()
    assert queue.redis.llen(queue.keys.redeliver) == 1000
    queue.assert_conserved()


async def test_a_worker_without_a_live_lease_may_not_scan(queue):
    hand = await holder(queue, b"a")
    queue.lapse("w1")
    part = await hand.reclaim(0, 10, 200, 100, [])
    assert part.state == "refused"
    assert len(queue.in_flight()) == 1


async def test_one_scanner_at_a_time(queue):
    first, second = queue.hand("w1"), queue.hand("w2")
    await first.exchange()
    await second.exchange()
    assert (await first.reclaim(0, 10, 5000, 1, [])).state == ""
    assert (await second.reclaim(0, 10, 5000, 1, [])).state == "busy"
    assert (await second.reclaim(0, 10, 0, 1, [])).state == "", "own tags need no lock"


async def test_a_task_becomes_a_dead_letter_after_its_last_delivery(queue):
    queue.push(b"poison", b"good")
    for turn in range(3):
        hand = queue.hand(f"w{turn}")
        await hand.exchange()
        await hand.scan()
        claimed = await hand.claim(2)
        await hand.settle(Outcome.SUCCEEDED, *(one for one in claimed if one.raw == b"good"))
        queue.lapse(f"w{turn}")
    last = queue.hand("last")
    await last.exchange()
    await last.scan()
    queue.push(b"other")
    poison, other = await last.claim(2)
    assert (poison.raw, poison.deliveries) == (b"poison", 3), "it is handed out, to be settled"
    assert other.raw == b"other", "and not alone: it does not run"
    await last.settle(Outcome.DEAD, poison, reason="poison")
    (letter,) = queue.dead()
    assert (letter[b"raw"], letter[b"reason"]) == (b"poison", b"poison")
    assert letter[b"deliveries"] == b"3"
    assert queue.total("dead") == 1
    queue.assert_conserved()


async def test_on_its_last_delivery_a_task_is_claimed_alone(queue):
    queue.redis.rpush(queue.keys.redeliver, b"x:1:2:0|last chance")
    queue.push(b"a", b"b")
    hand = queue.hand()
    first = await hand.exchange(3, hands=0)
    assert [(one.raw, one.deliveries) for one in first.deliveries] == [(b"last chance", 2)]


async def test_a_worker_makes_room_for_a_task_on_its_last_delivery_and_the_others_go_on(queue):
    queue.push(b"a", b"b", b"c")
    busy, other = queue.hand("busy"), queue.hand("other")
    await busy.claim(1)
    queue.redis.rpush(queue.keys.redeliver, b"x:1:2:0|last chance")
    assert (await busy.exchange(2)).why == "alone"
    assert [one.raw for one in await other.claim(5)] == [b"b", b"c"]
    await busy.settle(Outcome.SUCCEEDED, *busy.held)
    reply = await busy.exchange(2)
    assert [one.raw for one in reply.deliveries] == [b"last chance"]


async def test_a_workers_own_tags_that_it_does_not_know_come_back_without_a_delivery(queue):
    hand = await holder(queue, b"stranded", b"known")
    hand.held = [one for one in hand.held if one.raw == b"known"]
    assert await hand.scan(own_only=True) == 1
    assert queue.redeliver() == [b"w1:1:0:0|stranded"]
    assert list(queue.in_flight().values()) == [b"known"]
    queue.assert_conserved()


async def test_tags_asked_for_in_an_exchange_still_open_are_not_orphans(queue):
    hand = await holder(queue, b"a", b"b")
    hand.held = []
    assert await hand.scan(own_only=True, below=2) == 1
    assert list(queue.in_flight()) == [b"w1:2"]


async def test_a_forgotten_worker_leaves_no_lease_and_no_description(queue):
    await holder(queue, b"a")
    queue.redis.hset(queue.keys.about, "w1", "{}")
    queue.redis.hset(queue.keys.control, "w1", "drain")
    queue.lapse("w1")
    other = queue.hand("w2")
    await other.exchange()
    assert await other.run(other.commands.forget(now_ms(queue))) == ["w1"]
    assert not queue.redis.hexists(queue.keys.about, "w1")
    assert not queue.redis.hexists(queue.keys.control, "w1")
    assert queue.redis.zscore(queue.keys.workers, "w2"), "the living stay"


def now_ms(queue):
    seconds, micros = queue.redis.time()
    return str(seconds * 1000 + micros // 1000)


async def test_many_orphans_come_back_in_slices_that_never_hold_redis_long(queue):
    tags = {f"gone:{n}": b"x" * 100 for n in range(30_000)}
    queue.redis.hset(queue.keys.inflight, mapping=tags)
    queue.accepted = 30_000
    queue.redis.config_set("slowlog-log-slower-than", 100_000)
    queue.redis.slowlog_reset()
    worker = queue.hand("w2")
    await worker.exchange()
    moved, cursor = 0, 0
    while True:
        await worker.exchange()
        part = await worker.reclaim(cursor, 500, 200, 1, [])
        moved, cursor = moved + part.moved, part.cursor
        if cursor == 0:
            break
    assert moved == 30_000
    assert not [one for one in queue.redis.slowlog_get() if b"EVAL" in one["command"]]
    await until_async(lambda: queue.redis.hlen(queue.keys.inflight) == 0)
    queue.assert_conserved()
