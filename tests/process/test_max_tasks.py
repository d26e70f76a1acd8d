"""--max-tasks N handles exactly N and exits 0; what does not count is said by queue.md, 13."""

from __future__ import annotations

import pytest

from tests.support.waiting import until


@pytest.mark.parametrize(("limit", "concurrent"), [(1, 5), (2, 1), (10, 4), (5, 8)])
def test_exactly_as_many_tasks_run_and_the_rest_stays(world, limit, concurrent):
    world.enqueue("sleep", 12, s=0.05)
    worker = world.start_worker(None, "--max-tasks", str(limit), wait=False, concurrent=concurrent)
    worker.ends_well(15)
    assert len(world.journal("end")) == limit
    assert world.totals()["succeeded"] == limit
    assert (world.waiting(), world.in_flight()) == (12 - limit, 0)
    world.assert_conserved()


def test_invalid_items_do_not_count_and_failed_ones_do(world):
    world.push("not json", "{}")
    world.enqueue("raise", id="fails", kind="ValueError")
    world.push("[]")
    world.enqueue("note", 10)
    worker = world.start_worker(None, "--max-tasks", "4", wait=False, concurrent=2)
    worker.ends_well(15)
    totals = world.totals()
    assert (totals["failed"], totals["succeeded"]) == (1, 3)
    assert totals["invalid"] == 3
    assert world.waiting() == 7
    world.assert_conserved()


def test_more_than_there_is_waits_for_the_rest(world):
    world.enqueue("note", 3)
    worker = world.start_worker(None, "--max-tasks", "5")
    until(lambda: world.settled() == 3, what="three are done")
    assert worker.alive
    world.enqueue("note", 5)
    worker.ends_well()
    assert world.totals()["succeeded"] == 5
    assert world.waiting() == 3


def test_slow_tasks_among_the_last_do_not_let_another_one_in(world):
    world.enqueue("gate", id="slow")
    world.enqueue("note", 20)
    worker = world.start_worker(None, "--max-tasks", "6", concurrent=3)
    until(lambda: world.settled() == 5, what="the quick ones are done")
    world.open_gate()
    worker.ends_well()
    assert world.totals()["succeeded"] == 6
    assert world.waiting() == 15


def test_a_retaken_task_counts_for_the_worker_that_ran_it(world):
    world.enqueue("gate", 4)
    doomed = world.start_worker("doomed", concurrent=4)
    until(lambda: len(world.journal("start")) == 4, what="four tasks run")
    doomed.kill()
    world.open_gate()
    rescuer = world.start_worker("rescuer", "--max-tasks", "3", wait=False)
    assert rescuer.exit_code(15) == 0
    assert world.totals()["succeeded"] == 3
    assert world.waiting() == 1
    world.assert_conserved()
