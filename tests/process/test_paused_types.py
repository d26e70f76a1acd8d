"""`worker pause --type`: one type stands still, all others go on; nothing of it is lost."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.support.waiting import until

ASIDE = "{async_tasks}:held:paused:note"


def ids(world):
    return [one.id for one in world.journal("start")]


def test_tasks_of_a_paused_type_are_set_aside_and_others_go_on(world, type_in):
    workers = [world.start_worker(), world.start_worker()]
    assert "note paused" in type_in("pause", "--type", "note", "--why", "the mail\nserver is down")
    until(lambda: _known(workers), what="both workers know")
    world.enqueue("note", 300)
    world.enqueue("sleep", 100, s=0, id="other")

    until(lambda: world.settled() == 100, what="the other type is done")
    until(lambda: world.redis.llen(ASIDE) == 300, what="all of the paused type are set aside")
    assert set(ids(world)) == {"other"}
    world.assert_conserved()
    until(lambda: workers[0].metric("worker_queue_depth", state="paused") == 300, what="a gauge")
    until(lambda: workers[0].metric("worker_queue_depth", state="waiting") == 0, what="none waits")
    # Nothing is late: no alert.
    until(lambda: workers[0].metric("worker_queue_oldest_age_seconds") == 0, what="none is late")
    seen = type_in("status", "--over", "0", as_json=True)
    assert seen["depth"]["waiting"] == 0 and seen["depth"]["paused"] == 300
    [paused] = seen["paused_types"]
    assert paused["type"] == "note" and paused["paused"] and paused["aside"] == 300
    assert "PAUSED     note for" in (text := type_in("status", "--over", "0"))
    assert "300 set aside: the mail server is down" in text
    assert type_in("queue", "count", as_json=True)["types"] == {"note": 300}

    said = type_in("resume", "--type", "note", as_json=True)
    assert said == {"paused": False, "changed": True, "type": "note", "moved": 300}
    world.all_settled()
    assert world.totals()["succeeded"] == 400
    assert world.runs()[0] == 1 and world.redis.keys("{async_tasks}:held*") == []
    assert "note was not paused" in type_in("resume", "--type", "note")


def _known(workers):
    return all(not one.alive or one.status()["paused_types"] for one in workers)


def test_what_was_set_aside_comes_back_in_the_order_it_was_pushed(world, type_in):
    type_in("pause", "--type", "note")
    worker = world.start_worker(concurrent=10)
    world.enqueue("note", 2500)  # more than one slice
    until(lambda: world.redis.llen(ASIDE) == 2500, what="all are set aside")
    worker.terminate()
    assert worker.exit_code() == 0
    assert json.loads(world.redis.lindex(ASIDE, -1).partition(b"|")[2])["data"]["id"] == 0

    type_in("resume", "--type", "note")
    world.start_worker(concurrent=1)
    world.all_settled()
    assert ids(world) == list(range(2500))


def test_a_worker_that_starts_while_a_type_is_paused_starts_none_of_it(world, type_in):
    world.enqueue("note", 20)
    type_in("pause", "--type", "note")
    for _ in range(3):
        worker = world.start_worker()
        until(lambda: world.redis.llen(ASIDE) == 20, what="all are set aside")
        worker.kill()
    world.start_worker()
    assert ids(world) == []
    type_in("resume", "--type", "note")
    world.all_settled()
    assert len(ids(world)) == 20


def test_what_a_resume_left_behind_is_brought_back_by_any_worker(world, type_in):
    world.enqueue("note", 50)
    type_in("pause", "--type", "note")
    world.start_worker()
    until(lambda: world.redis.llen(ASIDE) == 50)
    world.redis.delete(world.keys.paused_types)  # a resume that broke off before its first slice
    world.all_settled()
    assert len(ids(world)) == 50


def test_resume_says_which_types_are_paused_still_and_a_pause_of_all_leaves_types_alone(
    world, type_in
):
    type_in("pause", "--type", "b/c:d e")
    type_in("pause")
    said = type_in("resume")
    hint = "worker resume --type 'b/c:d e'"
    assert said == f"resumed; paused by type still: b/c:d e ({hint})\n"
    assert shlex.split(hint)[-1] == "b/c:d e"
    assert type_in("pause", "--type", "b/c:d e", as_json=True)["changed"] is False
    assert type_in("resume", "--type", "b/c:d e", as_json=True)["changed"] is True


@pytest.mark.parametrize(
    ("task_type", "shown"),
    [
        ("email", "--type email"),
        ("a b", "--type 'a b'"),
        ("$HOME's", "--type '$HOME'\"'\"'s'"),
        ("-x", "--type=-x"),
        ("red\x1b[31m", "--type TYPE"),
    ],
)
def test_a_hint_can_be_pasted_into_a_shell(world, type_in, task_type, shown):
    type_in("pause", f"--type={task_type}")
    assert f"(worker resume {shown})" in type_in("resume")
    if shown != "--type TYPE":
        assert type_in(*shlex.split(f"resume {shown}"), as_json=True)["changed"] is True


def test_a_type_that_no_worker_has_a_handler_for_is_paused_with_a_warning(world, type_in):
    worker = world.start_worker()
    until(lambda: world.redis.hlen(world.keys.about), what="the worker has described itself")
    said = type_in("pause", "--type", "slepe")
    assert "slepe paused\n" in said
    assert "no live worker has a handler for slepe; did you mean sleep?" in said
    assert "If it was mistyped: worker resume --type slepe" in said
    assert "warning" not in type_in("pause", "--type", "note")
    assert "note was not paused" not in type_in("resume", "--type", "note")
    assert "slepe" in type_in("resume", "--type", "slep")  # what is paused is named
    assert type_in("pause", "--type", "slepe", as_json=True)["handled"] is False

    assert worker.drain() == 0
    assert type_in("pause", "--type", "slepe", as_json=True)["handled"] is None
    assert "warning" not in type_in("pause", "--type", "nobody knows")  # nobody is there to ask


def test_where_a_handler_takes_any_type_none_is_doubted(world, type_in):
    world.start_worker(handlers=["tests.support.any_type"])
    assert type_in("pause", "--type", "whatever", as_json=True)["handled"] is True


def test_tasks_without_a_handler_can_be_kept_until_there_is_one(world, type_in):
    type_in("pause", "--type", "not deployed yet")
    world.start_worker()
    world.enqueue("not deployed yet", 3)
    until(lambda: world.held() == 3, what="none has failed")
    assert world.dead() == []


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_a_name_that_no_task_can_have_is_refused(world, type_in, name):
    assert "--type: must be 1 to 256 bytes" in type_in("pause", "--type", name, code=2)
