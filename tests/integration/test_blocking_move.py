"""The blocking move and the claim that rides on it."""

from __future__ import annotations

import asyncio
import math
import time

from tests.support.brokers import Hand
from worker.errors import BrokerUnavailable


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
    waiting = await waits(queue, hand, want=1)
    began = time.monotonic()
    await hand.broker.moves[0].ask_to_end()
    arrival = await waiting
    assert (arrival.moved, arrival.exchanged.deliveries) == (False, [])
    assert time.monotonic() - began < 0.8  # it would have waited for a second


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
