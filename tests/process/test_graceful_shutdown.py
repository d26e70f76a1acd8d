"""Graceful shutdown: stop taking, let run, give the rest back, exit 0."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.support.waiting import until


def front_of_queue(world):
    """Ids of the waiting tasks, the next one first."""
    items = world.redis.lrange(world.keys.queue, 0, -1)
    return [json.loads(item)["data"]["id"] for item in reversed(items)]


ENDING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_a_drain_lets_running_tasks_end_and_takes_no_more(world, number):
    world.enqueue("sleep", 10, s=0.7)
    worker = world.start_worker(concurrent=3)
    until(lambda: len(world.journal("start")) == 3, what="three tasks run")
    worker.signal(number)
    worker.ends_well()

    assert len(world.journal("end")) == 3
    assert world.totals()["succeeded"] == 3
    assert front_of_queue(world) == list(range(3, 10))
    assert world.in_flight() == 0
    world.assert_conserved()


def test_a_drain_ends_as_soon_as_the_last_task_does(world):
    world.enqueue("gate", id="last")
    worker = world.start_worker(worker={"drain_timeout": 60})
    until(lambda: world.runs()["last"], what="the task runs")
    worker.terminate()
    worker.logged("drain")
    world.open_gate()
    worker.ends_well(30)
    assert world.totals()["succeeded"] == 1


def test_an_idle_worker_drains_at_once(world):
    worker = world.start_worker(worker={"interval": 30, "drain_timeout": 60})
    assert worker.drain(30) == 0


def test_after_the_drain_timeout_five_long_tasks_are_back_at_the_front_oldest_first(world):
    world.enqueue("sleep", 7, s=600)
    worker = world.start_worker(concurrent=5, worker={"drain_timeout": 1})
    until(lambda: len(world.journal("start")) == 5, what="five tasks run")
    assert worker.drain(30) == 0

    assert front_of_queue(world) == list(range(7))
    assert world.totals()["released"] == 5
    assert world.totals()["failed"] == 0
    assert world.in_flight() == 0
    assert world.dead() == []
    world.assert_conserved()


def test_a_task_that_makes_an_error_of_its_interruption_is_released_all_the_same(world):
    world.enqueue("own_error", s=30)
    worker = world.start_worker(worker={"drain_timeout": 0.2})
    until(lambda: world.journal("start"), what="the task runs")
    assert worker.drain() == 0
    assert world.journal("ConnectionError")
    assert world.totals()["failed"] == 0
    assert world.waiting() == 1


def test_released_tasks_run_to_their_end_in_the_next_worker(world):
    world.enqueue("gate", 5)
    worker = world.start_worker(concurrent=5, worker={"drain_timeout": 0.5})
    until(lambda: len(world.journal("start")) == 5, what="five tasks run")
    assert worker.drain() == 0
    world.open_gate()
    world.start_worker()
    world.all_settled()
    assert world.totals()["succeeded"] == 5


def test_the_first_signal_says_that_a_second_one_releases_at_once_and_it_does(world):
    world.enqueue("sleep", 2, s=600)
    worker = world.start_worker(worker={"drain_timeout": 60})
    until(lambda: len(world.journal("start")) == 2, what="two tasks run")
    worker.terminate()
    assert "again" in worker.logged("drain")
    worker.terminate()
    worker.ends_well(30)
    assert front_of_queue(world) == [0, 1]


def test_a_task_that_meets_three_closed_terminals_is_not_taken_for_poison(world):
    world.enqueue("gate", id="good")
    for turn in range(1, 4):
        worker = world.start_worker(worker={"drain_timeout": 0.1, "max_deliveries": 2})
        until(lambda turn=turn: world.runs()["good"] == turn, what="the task runs")
        worker.signal(signal.SIGHUP)
        worker.signal(signal.SIGHUP)
        worker.signal(signal.SIGHUP)
        worker.ends_well()
    assert front_of_queue(world) == ["good"]
    world.open_gate()
    world.start_worker()
    world.all_settled()
    assert (world.totals()["succeeded"], world.dead()) == (1, [])


@pytest.mark.parametrize("flags", [[], ["--processes", "2"]], ids=["one process", "two processes"])
def test_a_worker_under_nohup_does_not_hear_its_terminal_close(world, flags):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the worker inherits that, as of nohup
    try:
        worker = world.start_worker(None, *flags)
    finally:
        signal.signal(signal.SIGHUP, before)
    worker.signal(signal.SIGHUP)
    world.enqueue("note", 3)
    world.all_settled()
    assert worker.drain() == 0
    assert "SIGHUP" not in worker.log()


@pytest.mark.parametrize("kind", ["stubborn", "thread", "block"])
def test_a_handler_that_does_not_stop_cannot_hold_the_exit(world, kind):
    seconds = 600 if kind != "block" else 2  # one that holds the loop ends before we can
    world.enqueue(kind, id="holds on", s=seconds)
    worker = world.start_worker(worker={"drain_timeout": 60})
    until(lambda: world.runs()["holds on"], what="the task runs")
    worker.terminate()
    if kind != "block":
        worker.logged("drain")
    worker.terminate()
    worker.ends_well(6)
    if kind == "block":
        assert world.settled() + world.waiting() == 1
    else:
        assert front_of_queue(world) == ["holds on"]
    assert world.in_flight() == 0
    world.assert_conserved()


def test_a_stubborn_handler_cannot_outlive_the_drain_timeout(world):
    world.enqueue("stubborn", id="stubborn", s=600)
    worker = world.start_worker(worker={"drain_timeout": 0.5})
    until(lambda: world.runs()["stubborn"], what="the task runs")
    assert worker.drain(30) == 0
    assert front_of_queue(world) == ["stubborn"]


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3, 0.6])
def test_a_signal_during_the_start_ends_the_worker_and_loses_nothing(world, after_s):
    world.enqueue("note", 5)
    worker = world.start_worker(wait=False)
    time.sleep(after_s)  # the point is the moment, not a condition
    worker.terminate()
    # Before Python has installed a handler, the signal itself ends the process.
    assert worker.exit_code() in (0, -signal.SIGTERM)
    assert "Traceback" not in worker.log()
    world.assert_conserved()


def test_tasks_pushed_while_a_worker_drains_are_left_to_others(world):
    world.enqueue("gate", id="running")
    worker = world.start_worker(worker={"drain_timeout": 20})
    until(lambda: world.runs()["running"], what="the task runs")
    worker.terminate()
    worker.logged("drain")
    world.enqueue("note", 20)
    world.open_gate()
    worker.ends_well()
    assert world.waiting() == 20
    world.assert_conserved()


def test_a_push_around_the_stop_signal_is_never_lost(world):
    for turn in range(6):
        worker = world.start_worker()
        worker.terminate()
        for index in range(10):
            world.enqueue("note", id=(turn * 10 + index))
            time.sleep(0.005)  # spreads the pushes over the worker's last moments
        worker.ends_well()
        world.assert_conserved()
    world.start_worker()
    world.all_settled()
    assert all(count == 1 for count in world.runs().values())


def test_a_draining_worker_is_alive_and_not_ready(world):
    world.enqueue("gate", id="running")
    worker = world.start_worker(worker={"drain_timeout": 20})
    until(lambda: world.runs()["running"], what="the task runs")
    worker.terminate()
    until(lambda: worker.get("/readyz")[0] == 503, what="/readyz says no")
    assert worker.get("/livez")[0] == 200
    world.open_gate()
    worker.ends_well()


def test_the_last_lines_say_what_was_done(world):
    world.enqueue("note", 3)
    worker = world.start_worker()
    world.all_settled()
    worker.drain()
    last = worker.log().splitlines()[-1]
    assert "stopped: 3 done, 0 failed, 0 invalid, 0 released, exit 0" in last
