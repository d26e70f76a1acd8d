"""`run_at`: not before; `expires`: not after. Both by the server's clock."""

from __future__ import annotations

import time

import pytest

from tests.support.said import said
from tests.support.waiting import until

HANDLERS = ["tests.support.author_handlers"]
EXPIRES = {"says": {"expires": "30s"}}


def server_time(world):
    seconds, micros = world.redis.time()
    return seconds + micros / 1e6


def test_a_task_with_a_time_of_its_own_runs_then_and_not_before(world):
    world.start_worker(handlers=HANDLERS)
    asked = time.monotonic() + 1.0
    world.enqueue("says", id="later", extra={"run_at": server_time(world) + 1.0})
    world.enqueue("says", id="now")
    until(lambda: world.redis.zcard(world.keys.delayed) == 1, what="it waits for its time")
    world.assert_conserved()
    world.all_settled()
    lines = said(world.folder)
    assert [line["id"] for line in lines] == ["now", "later"]
    assert -0.005 < lines[1]["at"] - asked < 0.3
    assert world.totals()["retried"] == 0


def test_a_due_time_that_has_passed_or_is_nonsense_is_no_delay(world):
    for at in (server_time(world) - 1, -5, "tomorrow", None, True, [], 1e300):
        world.enqueue("says", id="x", extra={"run_at": at})
    world.start_worker(handlers=HANDLERS)
    world.all_settled()
    assert world.totals()["succeeded"] == 7


def test_many_delayed_tasks_run_in_the_order_of_their_times(world):
    world.start_worker(handlers=HANDLERS, concurrent=1)
    base = server_time(world) + 1.5
    order = [(index * 37) % 200 for index in range(200)]
    for index in order:
        world.enqueue("says", id=index, extra={"run_at": base + index / 1000})
    world.all_settled()
    ran = [line["id"] for line in said(world.folder)]
    assert sorted(ran) == list(range(200))
    moved = sum(abs(place - index) for place, index in enumerate(ran)) / 200
    assert moved < 5, ran


def test_a_delayed_task_whose_worker_dies_keeps_its_time(world):
    doomed = world.start_worker("doomed", handlers=HANDLERS)
    at = server_time(world) + 1.5
    world.enqueue("says", id="later", extra={"run_at": at})
    until(lambda: world.redis.zcard(world.keys.delayed) == 1, what="it waits for its time")
    doomed.kill()
    world.start_worker("rescuer", handlers=HANDLERS)
    world.all_settled()
    assert len(said(world.folder)) == 1
    assert server_time(world) >= at


def test_a_delayed_task_wakes_a_worker_that_looks_only_once_a_minute(world):
    world.start_worker(handlers=HANDLERS, worker={"interval": "60s"})
    asked = time.monotonic() + 0.5
    world.enqueue("says", id="later", extra={"run_at": server_time(world) + 0.5})
    world.all_settled(5)
    assert said(world.folder)[0]["at"] - asked < 0.3


def test_a_task_that_waited_too_long_is_dead_and_does_not_run(world):
    now = server_time(world)
    world.enqueue("says", id="old", extra={"enqueued_at": now - 60})
    world.enqueue("says", id="new", extra={"enqueued_at": now})
    world.enqueue("says", id="timeless")
    world.start_worker(handlers=HANDLERS, tasks=EXPIRES)
    world.all_settled()
    assert sorted(line["id"] for line in said(world.folder)) == ["new", "timeless"]
    (letter,) = world.dead()
    assert (letter["outcome"], letter["reason"]) == (b"dead", b"expired")
    assert world.totals()["dead"] == 1


def test_expiry_counts_from_the_time_that_the_task_asked_for(world):
    now = server_time(world)
    world.enqueue("says", id="due", extra={"enqueued_at": now - 60, "run_at": now - 0.5})
    world.start_worker(handlers=HANDLERS, tasks=EXPIRES)
    world.all_settled()
    assert world.totals()["succeeded"] == 1


@pytest.mark.parametrize("limit", [3])
def test_max_tasks_counts_expired_tasks_and_no_delayed_ones(world, limit):
    now = server_time(world)
    world.enqueue("says", id="later", extra={"run_at": now + 3600})
    world.enqueue("says", id="old", extra={"enqueued_at": now - 60})
    world.enqueue("says", 5)
    worker = world.start_worker(
        None, "--max-tasks", str(limit), wait=False, handlers=HANDLERS, tasks=EXPIRES
    )
    worker.ends_well(15)
    totals = world.totals()
    assert (totals["dead"], totals["succeeded"]) == (1, limit - 1)
    world.assert_conserved()
