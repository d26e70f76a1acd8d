"""A worker of the previous version beside one of this: they serve one queue, and lose nothing."""

from __future__ import annotations

import pytest

from tests.support.previous_worker import PreviousWorker
from tests.support.waiting import until
from tests.support.world import LEASE_S

TASKS = 2000


@pytest.fixture
def previous(world):
    worker = PreviousWorker(world.url, world.keys.queue, LEASE_S)
    yield worker
    worker.crash()


def test_both_versions_share_a_load_and_the_old_one_leaves(world, previous):
    world.start_worker(concurrent=5)
    world.enqueue("sleep", TASKS, s=0.002)
    previous.start()
    until(lambda: previous.ran > 50, what="the old worker takes its share")
    previous.drain()
    world.all_settled(60)
    assert world.totals()["succeeded"] == TASKS
    assert len(world.runs()) + previous.ran == TASKS
    assert max(world.runs().values()) == 1


def test_what_an_old_worker_held_when_it_died_is_run_by_a_new_one(world, previous):
    world.enqueue("note", TASKS)
    previous.start()
    until(lambda: previous.ran >= 50, what="the old worker is at work")
    previous.crash()
    assert world.in_flight() > 0, "it died with tasks in its hands"
    world.start_worker(concurrent=50)
    world.all_settled(30)
    assert world.totals()["reclaimed"] > 0


def test_what_a_new_worker_held_when_it_died_is_taken_up_by_an_old_one(world, previous):
    doomed = world.start_worker(concurrent=4)
    world.enqueue("gate", 4)
    until(lambda: world.in_flight() == 4, what="four tasks run in the new worker")
    doomed.kill()
    previous.start()
    until(lambda: previous.reclaimed == 4, 20, "the old worker found them")
    world.all_settled(20)
    assert world.totals()["succeeded"] == 4


def test_what_was_requeued_is_taken_over_by_an_old_worker_too(world, previous, type_in):
    """Which does not know when that was, and nothing worse."""
    gate = {"gate": {"expires": "5m"}}
    doomed = world.start_worker(tasks=gate, concurrent=4)
    world.enqueue("gate", 4, extra={"enqueued_at": world.redis.time()[0] - 3600})
    world.all_settled()
    world.accepted += type_in("dead", "requeue", "--all", as_json=True)["count"]
    until(lambda: world.in_flight() == 4, what="four requeued tasks run in the new worker")
    doomed.drain()
    assert world.waiting() == 4
    previous.start()
    until(lambda: previous.ran == 4, 20, "the old worker runs them")
    previous.drain()
    world.all_settled()
    assert world.totals()["succeeded"] == 4
