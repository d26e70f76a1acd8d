"""Concurrency limits: never more than max_concurrent run at once, and no slot idles beside work."""

from __future__ import annotations

import random
import time

import pytest

from tests.support.waiting import until


def most_at_once(world):
    return max(one.running for one in world.journal("start"))


def test_never_more_than_ten_of_200_tasks_run_at_once_and_every_slot_is_kept_busy(world):
    world.enqueue("sleep", 200, s=0.1)
    world.start_worker(concurrent=10)
    world.all_settled()

    assert most_at_once(world) == 10
    notes = world.journal()
    took_s = notes[-1].at - notes[0].at
    work_s = sum(one.at if one.event == "end" else -one.at for one in notes)
    assert took_s < 2 * work_s / 10, f"{took_s:.2f} s for {work_s:.1f} s of work in ten slots"
    assert longest_underuse_s(notes, slots=10, until_started=190) < took_s / 4


def longest_underuse_s(notes, slots, until_started):
    """The longest time that fewer than `slots` tasks ran while ten or more waited."""
    longest, running, started, since = 0.0, 0, 0, None
    for note in notes:
        running += 1 if note.event == "start" else -1
        started += note.event == "start"
        if since is not None and running == slots:
            longest = max(longest, note.at - since)
            since = None
        if started == until_started:
            return longest
        if since is None and started >= slots and running < slots:
            since = note.at
    return longest


@pytest.mark.parametrize("concurrent", [1, 3])
def test_the_limit_holds_for_sync_and_async_handlers_together(world, concurrent):
    for index in range(12):
        world.enqueue("thread" if index % 2 else "sleep", id=index, s=0.05)
    world.start_worker(concurrent=concurrent)
    world.all_settled()
    assert most_at_once(world) == concurrent


def test_at_a_limit_of_one_tasks_run_in_the_order_they_were_pushed(world):
    world.enqueue("note", 50)
    world.start_worker(concurrent=1)
    world.all_settled()
    assert [one.id for one in world.journal("start")] == list(range(50))


def test_a_queue_that_is_popped_on_the_left_serves_producers_that_rpush(world):
    world.redis.rpush(
        world.keys.queue, *(f'{{"type":"note","data":{{"id":{n}}}}}' for n in range(20))
    )
    world.accepted = 20
    world.start_worker(concurrent=1, queue={"pop": "left"})
    world.all_settled()
    assert [one.id for one in world.journal("start")] == list(range(20))


def test_one_long_task_does_not_make_the_others_wait_for_the_next_look(world):
    world.enqueue("gate", id="long")
    world.start_worker(concurrent=5, worker={"interval": 30})
    until(lambda: world.runs()["long"], what="the long task runs")

    for index in range(20):
        pushed = world.now()
        world.enqueue("note", id=index)
        until(lambda index=index: world.runs()[index], what=f"task {index} starts")
        started = next(one.at for one in world.journal("start") if one.id == index)
        assert started - pushed < 2  # far below the interval; the benchmark knows the milliseconds
    world.open_gate()
    world.all_settled()


def test_an_idle_worker_starts_a_task_at_once_whatever_the_interval(world):
    world.start_worker(worker={"interval": 30})
    pushed = world.now()
    world.enqueue("note", id="first")
    until(lambda: world.runs()["first"], what="the task starts")
    assert world.journal("start")[0].at - pushed < 2


def test_a_big_backlog_stays_in_redis_and_not_in_the_worker(world):
    world.enqueue("gate", 3000)
    worker = world.start_worker(concurrent=4)
    until(lambda: len(world.journal("start")) == 4, what="four tasks run")
    assert world.in_flight() <= 8, "a worker holds what it runs, and little more"
    assert worker.status()
    world.open_gate()
    world.all_settled(40)


@pytest.mark.parametrize("concurrent", [1, 2, 5])
def test_the_limit_holds_when_tasks_drip_in_while_the_worker_waits_for_them(world, concurrent):
    """Two ways of claiming are open then: the exchange and the claim behind the blocking move."""
    rng = random.Random(concurrent)
    world.start_worker(concurrent=concurrent)
    for n in range(250):
        for burst in range(rng.choice((1, 1, 1, 2, 6))):
            world.enqueue("sleep", id=f"{n}.{burst}", s=rng.choice((0, 0.002, 0.01)))
        time.sleep(rng.uniform(0, 0.01))  # the gaps are the point
    world.all_settled(30)
    assert most_at_once(world) == concurrent
    assert set(world.runs().values()) == {1}


def test_max_tasks_is_exact_when_tasks_drip_in(world):
    worker = world.start_worker(None, "--max-tasks", "50", concurrent=5)
    for n in range(60):
        world.enqueue("note", id=n)
        time.sleep(0.002)
    assert worker.exit_code() == 0
    assert len(world.journal("start")) == 50
    assert world.waiting() == 10
    world.assert_conserved()
