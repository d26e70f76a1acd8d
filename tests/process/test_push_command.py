"""`worker push`: one real task from the shell."""

from __future__ import annotations

import io
import sys
import time

import pytest

from taskrig.task import decode
from tests.support.waiting import until


def pushed(world, key=None):
    return [decode(raw) for raw in world.redis.lrange(key or world.keys.queue, 0, -1)[::-1]]


def test_a_pushed_task_is_run_and_its_id_printed(world, type_in):
    world.start_worker()
    name = type_in("push", "note", '{"id": "n1"}').strip()
    until(lambda: world.journal("start"))
    assert [one.id for one in world.journal("start")] == ["n1"] and len(name) == 24


def test_all_options_reach_the_task(world, type_in):
    world.redis.sadd(world.keys.lists, world.keys.queue, "urgent")
    said = type_in(
        *("push", "a", "[1]", "--id", "mine", "--delay", "10m", "--list", "urgent"),
        *("--result-ttl", "1h"),
        as_json=True,
    )
    assert said == {"id": "mine", "type": "a", "list": "urgent"}
    [task] = pushed(world, "urgent")
    assert (task.id, task.data, task.fields["result_ttl"]) == ("mine", [1], 3600)
    assert abs(task.run_at - time.time() - 600) < 60
    type_in("push", "a", "--run-at", "2030-01-01T00:00:00+00:00")
    type_in("push", "a", "--run-at", "1893456000")
    assert [task.run_at for task in pushed(world)] == [1893456000.0] * 2


def test_data_may_come_from_standard_input(world, type_in, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO('{"é": 1}'.encode())))
    type_in("push", "a", "-")
    assert pushed(world)[0].data == {"é": 1}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["a", "{"], "the data must be JSON"),
        (["a", "NaN"], "(bad_number)"),
        (["", "1"], "type_empty"),
        (["a", "--id", ""], "id must be text that is not empty"),
        (["a", "--delay", "soon"], "--delay"),
        (["a", "--delay", "1", "--run-at", "1893456000"], "not both"),
        (["a", "--run-at", "2030-01-01"], "with its zone"),
        (["a", "--run-at", "5"], "is it a length of time?"),
        (["a", "--list", "nowhere"], "is not a list of this queue (async_tasks)"),
    ],
)
def test_what_is_not_a_task_is_refused_and_nothing_pushed(world, type_in, words, why):
    assert why in type_in("push", *words, code=2)
    assert world.redis.dbsize() == 0


def test_a_type_that_no_live_worker_knows_is_pushed_with_a_warning(world, type_in):
    world.start_worker()
    assert "no live worker has a handler for noet; did you mean note?" in type_in("push", "noet")


def test_an_unreachable_redis_is_exit_code_3(world, type_in):
    assert "Redis at" in type_in("push", "a", "--set", "redis.url=redis://127.0.0.1:1/0", code=3)
