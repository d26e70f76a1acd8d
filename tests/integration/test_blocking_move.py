"""The blocking move and the claim that rides on it."""

from __future__ import annotations

import asyncio
import math
import time

from taskrig.errors import BrokerUnavailable
from tests.support.brokers import Hand
from tests.support.waiting import until


async def waits(queue, hand: Hand, want: int) -> asyncio.Task:
    """Start a wait, and return once the server holds it."""
    await hand.exchange()  # teaches the server the script
    broker = hand.broker
    task = asyncio.create_task(broker.moves[0].wait(want, 7, math.inf))
    deadline = time.monotonic() + 5
    while queue.redis.info("clients")["blocked_clients"] == 0:
        assert time.monotonic() < deadline, "the server holds no blocking move"
        await asyncio.sleep(0.01)
    return task


async def test_an_arrival_is_claimed_in_the_same_write_that_waited_for_it(queue):
    waiting = await waits(queue, queue.hand(), want=1)
    queue.push(b"a")
    arrival = await waiting
    assert arrival.moved
    assert [(one.tag, one.raw) for one in arrival.exchanged.deliveries] == [("w1:7", b"a")]
    assert queue.in_flight() == {b"w1:7": b"a"}
    queue.assert_conserved()


async def test_without_a_claim_the_move_only_wakes(queue):
    waiting = await waits(queue, queue.hand(), want=0)
    queue.push(b"a")
    arrival = await waiting
    assert (arrival.moved, arrival.exchanged) == (True, None)
    assert queue.in_flight() == {}
    queue.assert_conserved()


async def test_a_wait_ends_when_the_server_is_asked_to_end_it(queue):
    hand = queue.hand(**{"worker.lease_s": "60s"})
    hand.broker.moves[0]._hold_s = 600
    waiting = await waits(queue, hand, want=1)
    await hand.broker.moves[0].ask_to_end()
    async with asyncio.timeout(20):  # it would have waited for ten minutes
        arrival = await waiting
    assert (arrival.moved, arrival.exchanged.deliveries) == (False, [])


async def test_a_cut_wait_is_an_error_and_may_have_claimed(queue):
    hand = queue.hand()
    waiting = await waits(queue, hand, want=1)
    hand.broker.moves[0].cut()
    (end,) = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(end, BrokerUnavailable)
    assert hand.broker.moves[0].sent


async def test_after_flushed_scripts_the_move_still_wakes(queue):
    hand = queue.hand(**{"worker.lease_s": "60s"})
    waiting = await waits(queue, hand, want=1)
    queue.redis.script_flush()
    queue.push(b"a")
    arrival = await waiting
    assert (arrival.moved, arrival.exchanged, arrival.fault) == (True, None, None)
    assert queue.redis.lrange(queue.keys.arrivals, 0, -1) == [b"a"]


async def test_a_claim_that_rides_on_the_move_takes_nothing_that_must_run_alone(queue):
    queue.redis.rpush(queue.keys.redeliver, b"dead:1:2:0|poison")
    hand = queue.hand()
    waiting = await waits(queue, hand, want=1)
    queue.push(b"a")
    arrival = await waiting
    assert (arrival.exchanged.why, arrival.exchanged.deliveries) == ("alone", [])
    assert queue.redis.llen(queue.keys.redeliver) == 1


async def test_a_full_server_refuses_the_move_and_runs_the_claim(queue):
    hand = queue.hand()
    await hand.exchange()  # connected and known before the server is full
    queue.push(b"a")
    queue.redis.config_set("maxmemory", "1")
    try:
        arrival = await hand.broker.moves[0].wait(1, 7, math.inf)
    finally:
        queue.redis.config_set("maxmemory", "0")
    assert arrival.fault.kind == "out_of_memory"
    assert [one.raw for one in arrival.exchanged.deliveries] == [b"a"]
    queue.assert_conserved()


async def test_an_item_that_is_too_large_is_not_read_and_the_claim_dead_letters_it(queue):
    hand = queue.hand(**{"queue.max_item_bytes": "1MiB"})
    await hand.exchange()  # teaches the server the script
    queue.push(b"L" * 50_000_000)
    arrival = await hand.broker.moves[0].wait(1, 7, math.inf)
    assert (arrival.moved, arrival.exchanged) == (True, None)
    size, start = arrival.unread
    assert (size, set(start)) == (50_000_000, set(b"L"))
    until(lambda: queue.total("invalid") == 1, what="the claim behind the move has run")
    (letter,) = queue.dead()
    assert (letter[b"reason"], len(letter[b"raw"])) == (b"too_large", 50_000_000)
    assert not await hand.claim(5)
    queue.assert_conserved()


async def test_without_a_claim_an_item_that_is_too_large_waits_for_an_exchange(queue):
    hand = queue.hand(**{"queue.max_item_bytes": "1000"})
    queue.push(b"L" * 1001)
    arrival = await hand.broker.moves[0].wait(0, 7, math.inf)
    assert arrival.unread == (1001, b"L" * len(arrival.unread[1]))
    assert queue.redis.llen(queue.keys.arrivals) == 1
    reply = await hand.exchange(5)
    assert [size for size, _ in reply.too_large] == [1001]
    queue.assert_conserved()


async def test_an_item_of_just_the_largest_size_is_read(queue):
    hand = queue.hand(**{"queue.max_item_bytes": "1000"})
    await hand.exchange()
    queue.push(b"L" * 1000)
    arrival = await hand.broker.moves[0].wait(1, 7, math.inf)
    assert arrival.unread is None
    assert [len(one.raw) for one in arrival.exchanged.deliveries] == [1000]
