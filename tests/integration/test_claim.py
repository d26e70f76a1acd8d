"""Claiming: atomically, in order, bounded, from arrivals and redeliveries too."""

from __future__ import annotations

import pytest

from taskrig.admin import DeadLetters, Inspector
from taskrig.broker.queue_commands import CLAIM_BYTES
from taskrig.errors import BrokerUnavailable
from taskrig.task import Outcome


async def test_a_claim_moves_the_oldest_items_into_flight_under_tags_of_their_own(queue):
    queue.push(b"a", b"b", b"c")
    got = await queue.hand().claim(2)
    assert [(one.tag, one.raw) for one in got] == [("w1:1", b"a"), ("w1:2", b"b")]
    assert queue.in_flight() == {b"w1:1": b"a", b"w1:2": b"b"}
    assert queue.waiting() == [b"c"]


async def test_any_bytes_are_claimed_as_they_are(queue):
    raw = [b"", b"\x00\xff|:1:2|", b"w1:1:0:0|x", "任务".encode(), b"\r\n" * 10]
    queue.push(*raw)
    got = await queue.hand().claim(10)
    assert [one.raw for one in got] == raw


async def test_a_thousand_identical_tasks_are_a_thousand_tasks(queue):
    queue.push(*[b"same"] * 1000)
    hand = queue.hand()
    while await hand.claim(300):
        pass
    assert len(queue.in_flight()) == 1000
    assert len({one.tag for one in hand.held}) == 1000


async def test_a_claim_is_bounded_by_bytes_and_says_that_there_is_more(queue):
    queue.push(*[b"x" * 60_000] * 30)
    reply = await queue.hand().exchange(30)
    assert reply.more
    assert 4 <= len(reply.deliveries) < 10
    queue.assert_conserved()


async def test_arrivals_go_before_the_queue(queue):
    queue.push(b"second")
    queue.redis.lpush(queue.keys.arrivals, b"first")
    got = await queue.hand().claim(2)
    assert [one.raw for one in got] == [b"first", b"second"]


async def test_redelivered_tasks_take_at_most_half_of_the_slots_while_others_wait(queue):
    queue.push(*(b"new%d" % n for n in range(10)))
    queue.redis.rpush(queue.keys.redeliver, *(b"dead:%d:1:0|old%d" % (n, n) for n in range(10)))
    hand = queue.hand(**{"worker.max_deliveries": "5"})
    got = await hand.claim(6)
    assert sum(one.raw.startswith(b"old") for one in got) == 3
    assert sum(one.raw.startswith(b"new") for one in got) == 3


async def test_redelivered_tasks_take_every_slot_when_nothing_else_waits(queue):
    queue.redis.rpush(queue.keys.redeliver, *(b"dead:%d:1:0|old%d" % (n, n) for n in range(6)))
    hand = queue.hand(**{"worker.max_deliveries": "5"})
    got = await hand.claim(6)
    assert len(got) == 6
    assert {one.deliveries for one in got} == {1}


async def test_a_paused_queue_gives_nothing_and_says_why(queue):
    queue.push(b"a")
    queue.redis.set(queue.keys.paused, "1")
    reply = await queue.hand().exchange(5)
    assert (reply.why, reply.deliveries) == ("paused", [])
    queue.redis.delete(queue.keys.paused)
    assert len(await queue.hand("w2").claim(5)) == 1


async def test_a_worker_that_was_told_to_drain_gets_nothing(queue):
    queue.push(b"a")
    queue.redis.hset(queue.keys.control, "w1", "drain")
    reply = await queue.hand("w1").exchange(5)
    assert (reply.why, reply.deliveries) == ("drain", [])
    assert len(await queue.hand("w2").claim(5)) == 1


async def test_every_exchange_renews_the_lease_and_says_when_it_had_lapsed(queue):
    hand = queue.hand()
    assert (await hand.exchange()).gap
    assert not (await hand.exchange()).gap
    queue.lapse("w1")
    assert (await hand.exchange()).gap
    seconds, _ = queue.redis.time()
    assert queue.redis.zscore(queue.keys.workers, "w1") > seconds * 1000


async def test_an_item_beyond_the_limit_is_a_dead_letter_and_its_neighbours_are_claimed(queue):
    queue.push(b"small", b"L" * 2000, b"after")
    reply = await queue.hand(**{"queue.max_item_bytes": "1000"}).exchange(5)
    assert [one.raw for one in reply.deliveries] == [b"small", b"after"]
    assert reply.too_large == [(2000, b"L" * 64)] or reply.too_large == [[2000, b"L" * 64]]
    assert queue.dead()[0][b"raw"] == b"L" * 2000
    assert queue.total("invalid") == 1
    queue.assert_conserved()


async def test_a_claim_ends_at_its_bytes_where_large_items_follow_small_ones(queue):
    queue.push(*(b"small" for _ in range(30)), *(b"L" * 1_000_000 for _ in range(10)))
    hand = queue.hand()
    claimed = []
    while got := await hand.claim(500):
        sizes = [len(one.raw) for one in got]
        assert sum(sizes[:-1]) < CLAIM_BYTES, "only the last one may pass the bound"
        claimed += sizes
    assert claimed == [5] * 30 + [1_000_000] * 10
    queue.assert_conserved()


async def test_what_was_claimed_under_a_larger_limit_is_not_sent_under_a_smaller_one(queue):
    queue.push(b"small", b"L" * 2000, b"after")
    first = queue.hand("first")
    await first.claim(3)
    queue.lapse("first")
    hand = queue.hand(**{"queue.max_item_bytes": "1000"})
    await hand.exchange()
    assert await hand.scan() == 3
    reply = await hand.exchange(5)
    assert [one.raw for one in reply.deliveries] == [b"small", b"after"]
    assert [size for size, _ in reply.too_large] == [2000]
    assert [letter[b"raw"] for letter in queue.dead()] == [b"L" * 2000]
    assert [one.deliveries for one in reply.deliveries] == [1, 1]
    queue.assert_conserved()


async def test_tags_of_a_lost_claim_are_found_again(queue):
    queue.push(b"a", b"b", b"c")
    hand = queue.hand()
    await hand.claim(2)
    found = await hand.broker.find(1, 50)
    assert [(one.tag, one.raw) for one in found] == [("w1:1", b"a"), ("w1:2", b"b")]


async def test_a_claim_tells_when_an_item_was_requeued_and_finds_it_again_with_that(queue):
    queue.push(b"plain", b'{"enqueued_at": 1}', b'{"enqueued_at": 1}')
    hand = queue.hand()
    await hand.settle(Outcome.FAILED, *(await hand.claim(3)))
    letters = DeadLetters(Inspector(hand.config, hand.address))
    assert list(letters.move("requeue", {}))[-1].matching == 3
    seconds, _ = queue.redis.time()
    first = await hand.claim(3)
    assert first[0].requeued_at == 0.0  # it carries no time that could make it expire
    assert all(abs(one.requeued_at - seconds) < 60 for one in first[1:])
    assert not any(one.returned for one in first), "it comes from the queue like any other"
    found = await hand.broker.find(1, 6)
    assert [one.requeued_at for one in found] == [one.requeued_at for one in first]
    await hand.settle(Outcome.RELEASED, *first)
    again = {one.raw: one.requeued_at for one in await hand.claim(3)}
    assert again == {one.raw: one.requeued_at for one in first}


@pytest.mark.parametrize("pop", ["right", "left"])
async def test_what_woke_a_worker_that_is_full_goes_back_to_the_front(queue, pop):
    queue.redis.rpush(queue.keys.queue, b"later")
    queue.redis.lpush(queue.keys.arrivals, b"first")
    queue.redis.lpush(queue.keys.arrivals, b"second")
    hand = queue.hand(**{"queue.pop": pop})
    assert await hand.broker.moves[0].pass_on() == 2
    got = await hand.claim(3)
    assert [one.raw for one in got] == [b"first", b"second", b"later"]


@pytest.mark.parametrize("key", ["inflight", "stats"])
async def test_a_claim_that_cannot_be_booked_or_counted_takes_nothing(queue, key):
    queue.push(b"a", b"b")
    hand = queue.hand()
    queue.redis.set(getattr(queue.keys, key), "text")
    with pytest.raises(BrokerUnavailable):
        await hand.claim(2)
    queue.redis.delete(getattr(queue.keys, key))
    assert queue.waiting() == [b"a", b"b"]


async def test_a_cancel_stands_until_its_task_has_left_in_flight(queue):
    queue.push(b"a")
    hand = queue.hand()
    (task,) = await hand.claim(1)
    queue.redis.hset(queue.keys.control, "w1", "cancel:1")
    for _ in range(2):  # the first reply may have been lost
        assert (await hand.exchange(0)).cancel == [task.tag]
    await hand.settle(Outcome.DEAD, task, reason="cancelled")
    assert (await hand.exchange(0)).cancel == []
    assert not queue.redis.hexists(queue.keys.control, "w1")
