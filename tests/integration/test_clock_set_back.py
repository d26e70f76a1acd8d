"""What Redis keeps by its clock, when that clock was set back: leases, retries, locks.

The clock stays as it is here; what is written is what a clock ahead by an hour has left behind.
"""

from __future__ import annotations

import json

from tests.support.brokers import LEASE_S

HOUR_MS = 3_600_000


def now_ms(queue):
    seconds, micros = queue.redis.time()
    return seconds * 1000 + micros // 1000


async def orphan_with_a_lease_of(queue, ms, about):
    """A task in flight of a worker that has died, whose lease ends in so many ms."""
    hand = queue.hand("w1")
    queue.push(b"orphan")
    await hand.claim(1)
    queue.redis.zadd(queue.keys.workers, {"w1": now_ms(queue) + ms})
    if about is not None:
        queue.redis.hset(queue.keys.about, "w1", about)


async def scan(queue, **seen):
    hand = queue.hand("w2")
    await hand.exchange()
    return await hand.reclaim(0, 100, 200, 1, [], **seen)


ABOUT = json.dumps({"lease": LEASE_S})


async def test_a_lease_longer_than_its_worker_gives_is_over(queue):
    await orphan_with_a_lease_of(queue, HOUR_MS, ABOUT)
    assert (await scan(queue, steady_s=LEASE_S)).moved == 1
    assert queue.redis.zscore(queue.keys.workers, "w1") < now_ms(queue), "for whoever looks"


async def test_a_lease_is_not_judged_before_its_worker_had_time_to_renew_it(queue):
    await orphan_with_a_lease_of(queue, HOUR_MS, ABOUT)
    assert (await scan(queue, steady_s=LEASE_S / 2)).moved == 0
    assert (await scan(queue)).moved == 0


async def test_a_lease_whose_length_is_not_known_is_left_alone(queue):
    for about in (None, "{}", "[]", "not json", '{"lease": "long"}', '{"lease": null}'):
        await orphan_with_a_lease_of(queue, HOUR_MS, about)
        assert (await scan(queue, steady_s=86400)).moved == 0, about


async def test_a_long_lease_that_was_given_by_the_right_clock_holds(queue):
    await orphan_with_a_lease_of(queue, HOUR_MS, json.dumps({"lease": 3600}))
    assert (await scan(queue, steady_s=86400)).moved == 0


async def test_a_scan_that_finds_another_time_than_it_expects_moves_nothing(queue):
    await orphan_with_a_lease_of(queue, -1, ABOUT)
    for off_ms in (-HOUR_MS, -1000, 1000, HOUR_MS):
        part = await scan(queue, expected_s=(now_ms(queue) + off_ms) / 1000)
        assert (part.state, part.moved) == ("stepped", 0)
    for _ in range(50):  # a busy machine may take longer than what is let pass
        part = await scan(queue, expected_s=now_ms(queue) / 1000)
        if not part.state:
            break
    assert (part.state, part.moved) == ("", 1)


async def test_the_lock_of_a_scanner_without_a_lease_keeps_nobody_out(queue):
    await orphan_with_a_lease_of(queue, -1, ABOUT)
    queue.redis.set(queue.keys.reclaiming, "w1", px=HOUR_MS)
    assert (await scan(queue)).moved == 1


async def test_a_worker_without_a_lease_keeps_nobody_from_making_room_for_a_last_delivery(queue):
    queue.redis.lpush(queue.keys.redeliver, "old:1:2:0|last chance")
    queue.redis.set(queue.keys.alone, "w1", px=HOUR_MS)
    hand = queue.hand("w2")
    (claimed,) = await hand.claim(1)
    assert claimed.raw == b"last chance"


def delayed(queue, entries):
    """Due times in ms, by entry."""
    queue.redis.zadd(queue.keys.delayed, entries)


def dues(queue):
    found = queue.redis.zrange(queue.keys.delayed, 0, -1, withscores=True)
    return {entry.decode(): round(due) for entry, due in found}


async def all_slices(hand, by_s, within_s, count):
    at, moved = "", 0
    while True:
        part = await hand.run(hand.commands.set_back(by_s, within_s, at, count))
        at, moved = part.following, moved + part.moved
        if not at:
            return moved


async def test_retries_follow_a_clock_set_back_whatever_the_slices(queue):
    for count in (1, 2, 3, 1000):
        queue.redis.flushdb()
        now = now_ms(queue)
        same = {f"w:{n}:0:{n % 2}|tie": now + HOUR_MS + 5000 for n in range(9)}
        other = {
            "w:10:0:1|later": now + HOUR_MS + 90_000,
            "w:11:1:3|a|b": now + HOUR_MS + 1,
            "w:12:0:0|run_at": now + HOUR_MS + 7000,
            "w:13:0:2|of the new time": now + 60_000,
            "odd": now + HOUR_MS + 8000,
        }
        delayed(queue, same | other)
        assert await all_slices(queue.hand(), 3600, 5, count) == 4 + 2, count
        expected = {
            entry: due - HOUR_MS if entry.partition("|")[0][-2:] in (":1", ":3") else due
            for entry, due in (same | other).items()
        }
        assert dues(queue) == expected, count


async def test_of_two_workers_that_saw_the_same_step_one_moves_the_retries(queue):
    entry = {"w:1:0:1|x": now_ms(queue) + HOUR_MS + 7_200_000}
    delayed(queue, entry)
    assert await all_slices(queue.hand("w1"), 3600.2, 5, 100) == 1
    assert await all_slices(queue.hand("w2"), 3599.9, 5, 100) == 0
    assert await all_slices(queue.hand("w2"), 1800, 5, 100) == 1, "another step"
