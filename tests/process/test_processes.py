"""`worker run --processes N`: N workers under one parent, one /metrics, one signal."""

from __future__ import annotations

import os
import re
import signal
import urllib.request

import pytest

from tests.support.processes import kill_all_with
from tests.support.waiting import until


def start(world, *flags, **config):
    return world.start_worker(None, "--processes", "2", *flags, concurrent=2, **config)


def done(worker):
    """Tasks succeeded, by the parent's /metrics."""
    page = urllib.request.urlopen(f"http://127.0.0.1:{worker.http_port}/metrics", timeout=5)
    text = page.read().decode()
    found = re.findall(r'^worker_tasks_total{outcome="succeeded",type="\w+"} ([\d.]+)', text, re.M)
    return sum(map(float, found))


def pids(world):
    return {note.pid for note in world.journal("start")}


def test_two_processes_share_the_work_and_one_page_shows_the_sum(world):
    worker = start(world)
    world.enqueue("sleep", 20, s=0.1)
    world.all_settled()
    assert len(pids(world)) == 2
    until(lambda: done(worker) == 20, what="the sum is 20")
    worker.terminate()
    worker.ends_well()
    world.assert_conserved()


def test_a_killed_process_is_replaced_its_tasks_run_and_the_sum_never_goes_back(world):
    worker = start(world)
    world.enqueue("note", 30)
    until(lambda: done(worker) == 30, what="thirty are counted")
    world.enqueue("gate", 4, id="g")
    until(lambda: world.in_flight() == 4, what="both are busy")
    victim = next(note.pid for note in world.journal("start") if note.id == "g")
    os.kill(victim, signal.SIGKILL)
    worker.logged("another one in")
    world.open_gate()
    world.all_settled()
    until(lambda: done(worker) >= 34, what="all are counted")
    worker.terminate()
    worker.ends_well()


def test_one_signal_drains_all_and_a_second_one_releases(world):
    worker = start(world, worker={"drain_timeout": 60})
    world.enqueue("sleep", 4, s=60)
    until(lambda: world.in_flight() == 4, what="all slots are busy")
    worker.terminate()
    worker.logged("passed on to 2")
    worker.terminate()
    worker.ends_well(8)
    assert (world.waiting(), world.in_flight()) == (4, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_or_a_closed_terminal_drains_all(world, number):
    worker = start(world)
    world.enqueue("gate", 4)
    until(lambda: world.in_flight() == 4, what="all slots are busy")
    worker.signal(number)
    worker.logged("passed on to 2")
    world.open_gate()
    worker.ends_well()
    assert world.totals()["succeeded"] == 4


def test_max_tasks_is_exact_for_all_processes_together(world):
    world.enqueue("note", 20)
    worker = world.start_worker(None, "--processes", "3", "--max-tasks", "7", wait=False)
    worker.ends_well(15)
    assert world.totals()["succeeded"] == 7
    assert world.waiting() == 13


def test_the_children_drain_when_their_parent_is_killed(world):
    worker = start(world)
    world.enqueue("note", 20)
    world.all_settled()
    children = pids(world)
    worker.kill()
    until(lambda: not any(runs(pid) for pid in children), 10, "the children have ended")
    until(lambda: world.redis.zcard(world.keys.workers) == 0, what="they signed off")


def test_children_that_cannot_live_end_the_parent_with_their_code(world):
    worker = world.start_worker(
        None,
        "--processes",
        "2",
        wait=False,
        redis={"url": "redis://127.0.0.1:1", "connect_timeout": 0.1},
    )
    assert worker.exit_code(30) == 3
    assert "giving up" in worker.log()


def test_a_signal_before_the_children_are_up_ends_all_without_an_error(world):
    worker = world.start_worker(None, "--processes", "2", wait=False)
    worker.logged("supervising 2")
    worker.terminate()
    worker.ends_well()


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "many"])
def test_a_bad_number_of_processes_is_refused(world, count):
    worker = world.start_worker(None, "--processes", count, wait=False)
    assert worker.exit_code(10) == 2
    assert "--processes" in worker.log()


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_of_a_closed_world_goes_on_to_take_the_tasks_of_the_next_test(world):
    start(world, worker={"drain_timeout": 60})
    world.enqueue("gate", 4)
    until(lambda: world.in_flight() == 4, what="both are busy")
    world.close()
    assert kill_all_with("TASKRIG_TEST_FOLDER", world.folder) == 0
