"""100,000 tasks of a dead worker come back in slices that hold Redis for a moment each."""

from __future__ import annotations

import json

import pytest

from tests.support.waiting import until

ORPHANS = 100_000
HELD_MS = 10


@pytest.mark.parametrize("size", [100, 1024])
def test_a_dead_workers_hundred_thousand_tasks_never_block_redis_for_long(world, size):
    item = json.dumps({"type": "note", "data": {"pad": "x" * (size - 40)}})
    for start in range(0, ORPHANS, 1000):
        tags = {f"gone:{n}": item for n in range(start, start + 1000)}
        world.redis.hset(world.keys.inflight, mapping=tags)
    world.accepted = ORPHANS
    world.redis.config_set("slowlog-log-slower-than", 1000)
    world.redis.config_set("slowlog-max-len", 100_000)
    world.redis.slowlog_reset()
    began = world.now()
    worker = world.start_worker(concurrent=100, log={"tasks": "none"})
    until(lambda: world.totals()["reclaimed"] == ORPHANS, 120, "all are back in the queue")
    took_s = world.now() - began
    slow = [one for one in world.redis.slowlog_get(100_000) if b"EVAL" in one["command"]]
    world.redis.config_set("slowlog-log-slower-than", 10_000)
    held_ms = sorted(one["duration"] / 1000 for one in slow) or [0.0]
    over = sum(ms > HELD_MS for ms in held_ms)
    print(
        f"\n{ORPHANS:,} orphans of {size} bytes: back after {took_s:.1f} s; of the calls over 1 ms "
        f"({len(slow)}) median {held_ms[len(held_ms) // 2]:.1f} ms, longest {held_ms[-1]:.1f} ms, "
        f"{over} over {HELD_MS} ms"
    )
    world.all_settled(120)
    assert worker.alive
    # A noisy machine may take the server's CPU away in the middle of a call: not again and again.
    assert over <= len(slow) / 50
