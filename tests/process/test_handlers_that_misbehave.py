"""Whatever a handler does, its task fails, the worker lives, and the log line is short."""

from __future__ import annotations

import pytest

from tests.support.handlers import _RAISED as KINDS
from tests.support.waiting import until


@pytest.mark.parametrize("handler", ["raise", "raise_in_thread", "raise_in_a_task"])
def test_whatever_a_handler_raises_fails_its_task_and_nothing_else(world, handler):
    for kind in KINDS:
        world.enqueue(handler, id=kind, kind=kind)
    world.enqueue("note", 20)
    worker = world.start_worker()
    world.all_settled()
    assert world.totals()["failed"] == len(KINDS)
    assert world.totals()["succeeded"] == 20
    assert worker.alive
    assert worker.drain() == 0
    assert max(len(line) for line in worker.log().splitlines()) < 1000
    assert "\x1b" not in worker.log()
    assert len(world.dead()) == len(KINDS)
    assert all(len(one["error"]) < 1000 for one in world.dead())


def test_a_failed_task_is_not_run_again_and_is_kept_byte_for_byte(world):
    raw = b'{"type" : "reject", "data":{"id":1e2,  "n":9007199254740993}}'
    world.push(raw)
    world.start_worker()
    world.all_settled()
    (letter,) = world.dead()
    assert letter["raw"] == raw
    assert letter["reason"] == b"rejected"
    assert b"no recipient" in letter["error"]


@pytest.mark.parametrize("kind", ["brief", "brief_thread"])
def test_a_handler_beyond_its_timeout_fails(world, kind):
    world.enqueue(kind, id="late", s=1.5)
    world.enqueue(kind, id="in time", s=0)
    world.start_worker()
    world.all_settled()
    totals = world.totals()
    assert (totals["failed"], totals["succeeded"]) == (1, 1)
    (letter,) = world.dead()
    assert letter["reason"] == b"timeout"


def test_a_timeout_from_the_config_goes_before_the_handlers_own(world):
    world.enqueue("sleep", id="late", s=30)
    world.enqueue("brief", id="has time", s=0.6)
    world.start_worker(tasks={"sleep": {"timeout": "200ms"}, "brief": {"timeout": "20s"}})
    world.all_settled()
    assert world.totals()["failed"] == 1
    assert world.totals()["succeeded"] == 1


def test_threads_that_outlive_their_timeout_keep_their_slots_and_are_counted(world):
    world.enqueue("brief_thread", 6, s=2)
    worker = world.start_worker(concurrent=2)
    until(lambda: worker.metric("worker_threads_overdue") == 2, what="two threads are overdue")
    assert worker.threads() < 20
    world.all_settled(30)
    assert max(one.running for one in world.journal("start")) == 2
    assert world.totals()["failed"] == 6


def test_garbage_collection_in_handlers_makes_nothing_vanish(world):
    world.enqueue("collect", 300)
    world.start_worker(concurrent=50)
    world.all_settled(40)
    assert world.totals()["succeeded"] == 300


def test_an_unknown_type_goes_to_the_default_handler_under_one_label(world):
    for index in range(200):
        world.enqueue(f"unheard-of-{index}", id=index)
    worker = world.start_worker(handlers=["worker.handlers", "tests.support.handlers"])
    world.all_settled()
    assert world.totals()["succeeded"] == 200
    until(
        lambda: worker.metric("worker_tasks_total", type="unknown", outcome="succeeded") == 200,
        what="all are counted as unknown",
    )
    assert "unheard-of" not in worker.get("/metrics")[1]
