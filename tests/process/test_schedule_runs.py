"""The schedule in real workers: what nobody was there for is made up for, once."""

from __future__ import annotations

import time

from tests.support.waiting import until


def test_two_workers_make_up_for_the_times_that_were_missed_once_each(world):
    missed = 5
    last = int(time.time()) // 60 * 60 - missed * 60
    world.redis.hset("{async_tasks}:schedule", "each-minute", last)
    line = 'each-minute * * * * * {"type": "note", "data": {"id": "scheduled"}}'
    for name in ("one", "two"):
        world.start_worker(name, schedule=[line], worker={"schedule_grace": "10m"})
    until(lambda: world.settled() >= missed, what="the missed ones have run")
    now = int(time.time()) // 60 * 60
    assert world.runs()["scheduled"] in range(missed, (now - last) // 60 + 1)
    until(lambda: int(world.redis.hget("{async_tasks}:schedule", "each-minute")) >= now, 5)
    workers = world.workers
    assert all("left out" not in worker.log() for worker in workers)


def test_a_line_that_will_not_do_ends_the_start_with_one_line(world):
    worker = world.start_worker("one", schedule=["nightly 0 3 * *"], wait=False)
    assert worker.exit_code() == 2
    assert "schedule" in worker.log()
    assert "must be NAME MINUTE HOUR DAY MONTH WEEKDAY" in worker.log()
