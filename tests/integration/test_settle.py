"""Settling: every outcome, totals that move only by what was really removed, records."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskrig.task import Outcome, Settlement


async def test_a_success_leaves_flight_and_is_counted(queue):
    queue.push(b"a", b"b")
    hand = queue.hand()
    got = await hand.claim(2)
    reply = await hand.settle(Outcome.SUCCEEDED, *got)
    assert reply.missing == []
    assert queue.in_flight() == {}
    assert queue.total("succeeded") == 2
    queue.assert_conserved()


async def test_settling_what_is_gone_changes_nothing_and_says_so(queue):
    queue.push(b"a", b"b")
    hand = queue.hand()
    got = await hand.claim(2)
    await hand.settle(Outcome.SUCCEEDED, got[0])
    reply = await hand.settle(Outcome.SUCCEEDED, *got)
    assert reply.missing == [b""]
    assert queue.total("succeeded") == 2
    for outcome in (Outcome.FAILED, Outcome.INVALID, Outcome.RELEASED, Outcome.DEAD):
        reply = await hand.settle(outcome, got[0])
        assert reply.missing == [b"w1:1"]
    assert (queue.total("failed"), queue.total("released")) == (0, 0)
    assert queue.dead() == []
    assert queue.waiting() == []
    queue.assert_conserved()


async def test_one_by_one_names_the_tags_that_are_gone(queue):
    queue.push(b"a", b"b", b"c")
    hand = queue.hand()
    got = await hand.claim(3)
    queue.redis.hdel(queue.keys.inflight, "w1:2")
    ended = [Settlement(one.tag, Outcome.SUCCEEDED) for one in got]
    reply = await hand.exchange(0, *ended, one_by_one=True)
    assert reply.missing == [b"w1:2"]
    assert queue.total("succeeded") == 2


async def test_a_worker_whose_lease_had_lapsed_is_told_each_tag_that_is_gone(queue):
    queue.push(b"a", b"b")
    hand = queue.hand()
    got = await hand.claim(2)
    queue.lapse("w1")
    other = queue.hand("w2")
    await other.exchange()
    assert await other.scan() == 2
    reply = await hand.settle(Outcome.SUCCEEDED, *got)
    assert (reply.gap, sorted(reply.missing)) == (True, [b"w1:1", b"w1:2"])
    queue.assert_conserved()


async def test_more_than_one_command_can_hold_is_settled_in_slices(queue):
    queue.push(*[b"x"] * 2500)
    hand = queue.hand()
    while await hand.claim(1000):
        pass
    reply = await hand.settle(Outcome.SUCCEEDED, *hand.held)
    assert reply.missing == []
    assert queue.total("succeeded") == 2500
    queue.assert_conserved()


@pytest.mark.parametrize("pop", ["right", "left"])
async def test_released_tasks_are_the_next_ones_to_be_claimed(queue, pop):
    items = [b"a", b"b", b"c", b"d"]
    if pop == "right":
        queue.push(*items)
    else:
        queue.redis.rpush(queue.keys.queue, *items)
        queue.accepted += 4
    hand = queue.hand(**{"queue.pop": pop})
    got = await hand.claim(3)
    await hand.settle(Outcome.RELEASED, *reversed(got))  # newest first, as the consumer does
    again = await hand.claim(4)
    assert [one.raw for one in again] == items
    assert {one.deliveries for one in again} == {0}
    assert queue.total("released") == 3
    queue.assert_conserved()


async def test_a_released_redelivery_keeps_its_counts_and_goes_to_the_front(queue):
    queue.redis.rpush(queue.keys.redeliver, b"x:2:1:0|later", b"x:1:1:4|first")
    queue.accepted = 2
    hand = queue.hand(**{"worker.max_deliveries": "5"})
    (got,) = await hand.claim(1)
    assert (got.raw, got.deliveries, got.attempts) == (b"first", 1, 4)
    await hand.settle(Outcome.RELEASED, got)
    assert queue.redeliver()[0] == b"w1:1:1:4|first"
    assert queue.redis.hlen(queue.keys.meta) == 0
    again, _ = await hand.claim(2)
    assert (again.raw, again.deliveries, again.attempts) == (b"first", 1, 4)
    queue.assert_conserved()


async def test_a_record_is_written_for_each_execution_also_when_the_claim_was_lost(queue):
    queue.push(b"a")
    hand = queue.hand()
    (got,) = await hand.claim(1)
    await hand.settle(Outcome.SUCCEEDED, got, run="r1", record="0 succeeded 1.0 2.0 w1 1")
    await hand.settle(Outcome.SUCCEEDED, got, run="r1", record="0 succeeded 1.5 2.5 w1 1")
    records = queue.redis.lrange(queue.keys.run("r1"), 0, -1)
    assert [one.split()[6] for one in records] == [b"0", b"1"]
    assert 0 < queue.redis.ttl(queue.keys.run("r1")) <= 3600
    assert queue.total("succeeded") == 1


@pytest.mark.parametrize(
    ("broken", "kept_in_flight"),
    [("dead", True), ("stats", True), ("inflight", False), ("redeliver", False), ("meta", True)],
)
async def test_an_error_in_the_middle_of_a_script_loses_no_task_and_no_count(
    queue, broken, kept_in_flight
):
    queue.push(b"a", b"b", b"c")
    hand = queue.hand()
    good, bad = await hand.claim(2)
    key, aside = getattr(queue.keys, broken), "{async_tasks}:aside"
    if queue.redis.exists(key):
        queue.redis.rename(key, aside)
    queue.redis.set(key, "of another type")
    ended = [Settlement(good.tag, Outcome.SUCCEEDED), Settlement(bad.tag, Outcome.FAILED)]
    with pytest.raises(Exception, match="WRONGTYPE"):
        await hand.exchange(1, *ended)
    queue.redis.delete(key)
    if queue.redis.exists(aside):
        queue.redis.rename(aside, key)
    queue.assert_conserved()
    assert (b"w1:2" in queue.in_flight()) is kept_in_flight or broken == "inflight"
    await hand.exchange(1, *ended, one_by_one=True)
    assert (queue.total("succeeded"), queue.total("failed")) == (1, 1)
    queue.assert_conserved()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    raw=st.binary(max_size=300),
    outcome=st.sampled_from([Outcome.RELEASED, Outcome.FAILED, Outcome.INVALID]),
)
async def test_any_bytes_survive_claim_and_settle_unchanged(queue, raw, outcome):
    queue.redis.flushdb()
    queue.redis.lpush(queue.keys.queue, raw)
    hand = queue.hand(f"w{len(queue.hands)}")
    (got,) = await hand.claim(1)
    assert got.raw == raw
    await hand.settle(
        outcome, got, reason="error", error="\ud800".encode("utf-8", "replace").decode()
    )
    kept = queue.waiting() if outcome is Outcome.RELEASED else [queue.dead()[0][b"raw"]]
    assert kept == [raw]
    await hand.broker.close()


async def test_a_record_key_of_a_wrong_type_costs_the_records_and_no_settlement(queue):
    queue.push(b"a", b"b")
    hand = queue.hand()
    got = await hand.claim(2)
    queue.redis.set(queue.keys.run("r1"), "not ours")
    await hand.settle(Outcome.SUCCEEDED, got[0], run="r1", record="0 succeeded 1.0 2.0 w1 1")
    await hand.settle(Outcome.FAILED, got[1], run="r1", record="1 failed 1.0 2.0 w1 1")
    assert (queue.total("succeeded"), queue.total("failed")) == (1, 1)
    assert queue.redis.get(queue.keys.run("r1")) == b"not ours"
    queue.assert_conserved()
