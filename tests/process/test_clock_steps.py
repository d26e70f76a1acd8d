"""The server's clock is set while workers run: ahead, back, ahead and back."""

from __future__ import annotations

import time

import pytest

from tests.support.stepping_server import SteppingServer
from tests.support.waiting import until
from tests.support.world import LEASE_S

HOUR = 3600.0
LIMIT_S = 20 * LEASE_S  # far less than the step


@pytest.fixture
def own(tmp_path):
    one = SteppingServer(tmp_path / "stepping")
    one.start()
    yield one
    one.close()


@pytest.fixture
def world(own, world_on):
    return world_on(own.url)


def clock_was_set(worker, how):
    worker.logged(f"Redis's clock was set {how} by", 5 * LEASE_S)


def test_a_killed_workers_task_does_not_wait_the_whole_step_back(own, world):
    world.enqueue("gate", id="held")
    doomed = world.start_worker("doomed")
    until(lambda: world.runs()["held"] == 1, what="the task runs")
    rescuer = world.start_worker("rescuer")
    doomed.kill()
    own.set_clock(-HOUR)
    until(lambda: world.runs()["held"] == 2, LIMIT_S, "the task runs again")
    clock_was_set(rescuer, "back")
    until(lambda: world.redis.zcard(world.keys.workers) == 1, LIMIT_S, "the dead one is forgotten")
    world.open_gate()
    world.all_settled()


def test_a_task_of_a_worker_that_died_while_the_clock_was_ahead_comes_back_soon(own, world):
    own.set_clock(HOUR)
    world.enqueue("gate", id="held")
    doomed = world.start_worker("doomed")
    until(lambda: world.runs()["held"] == 1, what="the task runs")
    doomed.kill()
    own.set_clock(0)
    world.start_worker("later")
    until(lambda: world.runs()["held"] == 2, LIMIT_S, "a worker that saw no step runs it again")
    world.open_gate()
    world.all_settled()


@pytest.mark.parametrize("steps", [(HOUR, 0), (0.8 * LEASE_S, -HOUR)])
def test_live_workers_keep_their_tasks_whatever_the_clock_does(own, world, steps):
    world.enqueue("gate", 6)
    workers = [world.start_worker(name, concurrent=3) for name in ("one", "two")]
    until(lambda: len(world.runs()) == 6, what="all run")
    until_they_may_reclaim = time.monotonic() + 1.5 * LEASE_S
    until(lambda: time.monotonic() > until_they_may_reclaim)
    for ahead_s in steps:
        own.set_clock(ahead_s)
        until_they_would_have = time.monotonic() + 2 * LEASE_S
        until(lambda at=until_they_would_have: time.monotonic() > at)
    world.open_gate()
    world.all_settled()
    assert set(world.runs().values()) == {1}
    assert all(worker.metric("worker_claims_lost_total") == 0 for worker in workers)
    for worker in workers:
        assert worker.log().count("clock was set") <= len(steps)


def test_retries_do_not_wait_the_whole_step_back_and_a_run_at_stays_what_it_is(own, world):
    for name in ("one", "two"):
        world.start_worker(name, handlers=["tests.support.author_handlers"])
    tomorrow = {"run_at": time.time() + 24 * HOUR}
    world.enqueue("fails_once", id="tomorrow", extra=tomorrow)
    until(lambda: world.redis.zcard(world.keys.delayed) == 1, what="one is delayed")
    world.enqueue("fails_once", 3, after=5)
    world.enqueue("fails_once", id="had its time", after=5, extra={"run_at": time.time() - 60})
    until(lambda: world.redis.zcard(world.keys.delayed) == 5, what="four wait for their retry")
    own.set_clock(-HOUR)
    until(lambda: world.totals()["succeeded"] == 4, LIMIT_S, "they were run again")
    assert world.redis.zcard(world.keys.delayed) == 1
    assert sum("4 retries follow the clock" in worker.log() for worker in world.workers) == 1


def test_a_schedule_goes_on_after_the_clock_was_ahead_and_is_set_back(own, world):
    line = 'each-minute * * * * * {"type": "note", "data": {"id": "scheduled"}}'
    workers = [world.start_worker(name, schedule=[line]) for name in ("one", "two")]
    until(lambda: world.redis.hlen(world.keys.schedule), what="the line has begun")
    own.set_clock(HOUR)
    until(lambda: world.runs()["scheduled"] == 1, LIMIT_S, "the last minute is made up for")
    until(lambda: any("left out" in worker.log() for worker in workers), 5, "it is said")
    own.set_clock(60 - time.time() % 60 - 2)  # so that the next minute comes soon
    until(lambda: world.runs()["scheduled"] == 2, LIMIT_S, "the next minute comes when it is due")
    for worker in workers:
        assert worker.log().count("clock was set") <= 2
        assert worker.log().count("left out") <= 1


def test_a_scanner_that_died_before_the_clock_was_set_back_locks_nobody_out(own, world):
    world.enqueue("gate", id="held")
    doomed = world.start_worker("doomed")
    until(lambda: world.runs()["held"] == 1, what="the task runs")
    (name,) = world.redis.hkeys(world.keys.about)
    doomed.kill()
    world.redis.set(world.keys.reclaiming, name, px=5000)
    own.set_clock(-HOUR)
    world.start_worker("rescuer")
    until(lambda: world.runs()["held"] == 2, LIMIT_S, "the task runs again")
    world.open_gate()
    world.all_settled()
