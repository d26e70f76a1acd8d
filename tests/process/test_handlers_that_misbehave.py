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
    world.enqueue("collect", 100)
    world.start_worker(concurrent=50)
    world.all_settled(60)
    assert world.totals()["succeeded"] == 100


def test_an_unknown_type_goes_to_the_demos_handler_under_one_label(world):
    for index in range(200):
        world.enqueue(f"unheard-of-{index}", 2, id=index)
    worker = world.start_worker(handlers=["taskrig.handlers"])
    world.all_settled()
    assert world.totals()["succeeded"] == 400
    until(
        lambda: worker.metric("worker_tasks_total", type="unknown", outcome="succeeded") == 400,
        what="all are counted as unknown",
    )
    assert "unheard-of" not in worker.get("/metrics")[1]
    assert worker.drain() == 0
    said = [line for line in worker.log().splitlines() if "nothing was done" in line]
    assert len(said) == 100, "once a type, of a bounded number of types"
    assert all("WARNING" in line and "unheard-of-" in line for line in said)
    assert "and of no more types" in said[-1]


def test_with_handlers_of_ones_own_an_unknown_type_is_a_dead_letter(world):
    for index in range(200):
        world.enqueue(f"unheard-of-{index}", 2, id=index)
    world.enqueue("notee", 3)
    world.enqueue("note", 3)
    worker = world.start_worker(
        handlers=["taskrig.handlers", "tests.support.handlers"], log={"tasks": "failures"}
    )
    world.all_settled()
    assert (world.totals()["failed"], world.totals()["succeeded"]) == (403, 3)
    assert {one["reason"] for one in world.dead()} == {b"no_handler"}
    until(
        lambda: worker.metric("worker_tasks_total", type="unknown", outcome="failed") == 403,
        what="all are counted as failed",
    )
    assert worker.drain() == 0
    said = [line for line in worker.log().splitlines() if "WARNING no handler takes" in line]
    assert len(said) == 100
    worker = world.start_worker()
    world.enqueue("notee", 3)
    world.all_settled()
    assert worker.drain() == 0
    assert "no handler takes type notee; did you mean note?" in worker.log()
    assert worker.log().count("WARNING no handler takes") == 1


def test_dry_runs_are_said_at_the_start_and_are_not_counted_as_succeeded(world):
    world.enqueue("email", 3, to=7)
    world.push(*['{"type": "email", "data": {"to": "a@example.com"}}'] * 3)
    world.push('{"type": "file_process", "data": {"path": "a"}}', '{"type": "noop"}')
    worker = world.start_worker(handlers=["taskrig.handlers"])
    world.all_settled()
    worker.logged(
        "dry run, so tasks of these types have no effect: email (email.host is not set), "
        "file_process (files.root is not set)"
    )

    def counted(kind, outcome):
        return worker.metric("worker_tasks_total", type=kind, outcome=outcome)

    until(lambda: counted("email", "dry_run") == 3, what="three mails were a dry run")
    until(lambda: counted("email", "failed") == 3, what="three mails are counted as failed")
    until(lambda: counted("noop", "succeeded") == counted("file_process", "dry_run") == 1)
    assert counted("email", "succeeded") == 0
    assert 'type="noop",outcome="dry_run"' not in worker.get("/metrics")[1]
    assert worker.drain() == 0
    assert "stopped: 5 done (4 of them dry runs), 3 failed" in worker.log()
    assert worker.log().count("(a dry run)") == 4
