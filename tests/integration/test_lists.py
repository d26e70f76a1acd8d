"""A queue with several lists: strict order or shares, each claim atomic whatever their number."""

from __future__ import annotations

from collections import Counter

import pytest

from taskrig.engine.blocking_pop import BlockingPop
from taskrig.engine.inbox import Inbox
from taskrig.errors import BrokerBroken
from taskrig.task import Outcome
from tests.support.brokers import LEASE_S
from tests.support.waiting import until_async

STRICT = ["urgent", "async_tasks", "bulk"]
WEIGHTED = ["urgent=6", "async_tasks=3", "bulk=1"]


@pytest.fixture
def lists(queue):
    """The queue with items on three lists: eight each, numbered."""
    for name in ("urgent", "bulk"):
        queue.redis.lpush(name, *(f"{name}{n}".encode() for n in range(8)))
        queue.accepted += 8
    queue.push(*(b"async_tasks%d" % n for n in range(8)))
    yield queue
    queue.redis.delete("urgent", "bulk")


def names(deliveries):
    return [one.raw.decode().rstrip("0123456789") for one in deliveries]


def waits(queue):
    return [int(queue.redis.llen(name)) for name in ("urgent", "async_tasks", "bulk")]


async def test_in_strict_order_a_list_is_served_when_those_before_it_are_empty(lists):
    hand = lists.hand(**{"queue.lists": STRICT})
    assert names(await hand.claim(10)) == ["urgent"] * 8 + ["async_tasks"] * 2
    assert names(await hand.claim(10)) == ["async_tasks"] * 6 + ["bulk"] * 4
    assert [one.raw for one in hand.held][:3] == [b"urgent0", b"urgent1", b"urgent2"]
    assert waits(lists) == [0, 0, 4]


async def test_what_comes_later_on_an_earlier_list_goes_first(lists):
    hand = lists.hand(**{"queue.lists": STRICT})
    await hand.claim(9)
    lists.redis.lpush("urgent", b"urgent8")
    assert names(await hand.claim(2)) == ["urgent", "async_tasks"]


async def test_weights_part_every_claim(lists):
    hand = lists.hand(**{"queue.lists": WEIGHTED})
    assert Counter(names(await hand.claim(10))) == {"urgent": 6, "async_tasks": 3, "bulk": 1}


async def test_weights_hold_also_for_claims_of_one_task(lists):
    hand = lists.hand(**{"queue.lists": WEIGHTED})
    got = [one for _ in range(10) for one in await hand.claim(1)]
    assert Counter(names(got)) == {"urgent": 6, "async_tasks": 3, "bulk": 1}


async def test_the_share_of_an_empty_list_goes_to_the_others(lists):
    lists.redis.delete("urgent", "async_tasks")
    hand = lists.hand(**{"queue.lists": WEIGHTED})
    assert names(await hand.claim(5)) == ["bulk"] * 5


async def test_large_items_of_one_list_do_not_starve_the_others(lists):
    for name in ("urgent", "async_tasks", "bulk"):
        lists.redis.delete(name)
        lists.redis.lpush(name, *([name.encode() + b"x" * 100_000] * 10))
    hand = lists.hand(**{"queue.lists": WEIGHTED})
    seen = Counter()
    while set(seen) != {"urgent", "async_tasks", "bulk"}:  # each begins by chance, by its share
        reply = await hand.exchange(10)
        assert reply.more, "the bytes, not the number, bound this claim"
        for one in reply.deliveries:
            name = one.raw.split(b"x")[0].decode()
            seen[name] += 1
            lists.redis.lpush(name, one.raw)
        assert sum(seen.values()) < 1000, f"only {seen}"
        await hand.settle(Outcome.SUCCEEDED, *reply.deliveries)


async def test_a_released_task_comes_back_before_every_list(lists):
    hand = lists.hand(**{"queue.lists": STRICT})
    got = await hand.claim(2)
    await hand.settle(Outcome.RELEASED, *reversed(got))
    again = (await hand.claim(2))[0]
    assert again.raw == b"urgent0"
    assert (again.deliveries, again.attempts) == (0, 0)


async def test_a_dead_workers_tasks_of_every_list_come_back(lists):
    dead = lists.hand("dead", **{"queue.lists": STRICT})
    await dead.claim(24)
    assert waits(lists) == [0, 0, 0]
    lists.lapse("dead")
    heir = lists.hand("heir", **{"queue.lists": STRICT})
    await heir.exchange(0)
    assert await heir.scan() == 24
    assert Counter(names(await heir.claim(24))) == dict.fromkeys(
        ("urgent", "async_tasks", "bulk"), 8
    )


async def test_a_move_lands_beside_its_own_list_and_is_passed_on_to_it(queue):
    hand = queue.hand(**{"queue.lists": STRICT})
    urgent = hand.broker.moves[0]
    queue.redis.lpush("urgent", b"a")
    assert (await urgent.wait(0, 0, 1.0)).moved
    assert queue.redis.lrange("{async_tasks}:arrivals:urgent", 0, -1) == [b"a"]
    assert await urgent.pass_on() == 1
    assert queue.redis.lrange("urgent", 0, -1) == [b"a"]
    assert (await urgent.wait(0, 0, 1.0)).moved
    assert names(await hand.claim(5)) == ["a"]


async def test_who_looks_counts_every_list(lists):
    hand = lists.hand(**{"queue.lists": STRICT})
    await hand.broker.register()
    lists.redis.lmove("bulk", "{async_tasks}:arrivals:bulk", "RIGHT", "LEFT")
    seen = await hand.run(hand.commands.look())
    assert seen.waiting == 24
    assert seen.lists == {"urgent": 8, "async_tasks": 8, "bulk": 8}


async def test_a_wrong_type_of_another_list_is_named(queue):
    queue.redis.set("bulk", "text")
    hand = queue.hand(**{"queue.lists": STRICT, "worker.lease_s": f"{LEASE_S}s"})
    named = await hand.broker.with_wrong_key(BrokerBroken("WRONGTYPE"))
    queue.redis.delete("bulk")
    assert "'bulk', holds a string and must be a list" in str(named)


async def test_what_arrived_is_passed_on_when_another_lists_task_took_the_slot(queue):
    inbox = Inbox()
    pop = BlockingPop(2, queue.hand(**{"queue.lists": STRICT}).broker.moves[2], inbox, 1.0)
    pop.start()
    pop.ask(None, 1.0)
    queue.redis.lpush("bulk", b"late")
    await until_async(lambda: inbox.popped != [], what="the move has ended")
    assert inbox.popped[0].arrival.moved
    assert queue.redis.llen("{async_tasks}:arrivals:bulk") == 1
    pop.pass_on()  # all slots are taken now
    await until_async(lambda: queue.redis.lrange("bulk", 0, -1) == [b"late"], what="it is back")
    await pop.end(within_s=1)
