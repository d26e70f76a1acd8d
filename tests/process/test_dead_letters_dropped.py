"""Dead letters that their bounds drop are lost: it is said when it begins, and shown everywhere."""

from __future__ import annotations

import json

from tests.support.waiting import until


def dropped(worker):
    return [line for line in worker.log().splitlines() if "which are lost" in line]


def test_the_loss_of_dead_letters_is_logged_once_and_shown_everywhere(world, type_in):
    worker = world.start_worker(concurrent=4, dead_letters={"max": 10})
    world.enqueue("reject", 10)
    world.all_settled()
    until(lambda: worker.metric("worker_queue_depth", state="dead") == 10, what="it has looked")
    assert dropped(worker) == []
    assert "DROPPED" not in type_in("status")
    assert "dropped" not in type_in("dead", "list")

    world.enqueue("reject", 5)
    world.all_settled()
    until(lambda: dropped(worker), what="the worker says that letters are lost")
    world.enqueue("reject", 25)
    world.all_settled()
    until(
        lambda: worker.metric("worker_dead_letters_trimmed_total", kind="failed") == 30,
        what="the metric counts them",
    )
    assert worker.metric("worker_dead_letters_trimmed_total", kind="invalid") == 0

    [line] = dropped(worker)
    assert "dead_letters.max (10)" in line and "WARNING" in line and "worker dead list" in line
    said = "30 dead letters were dropped, the last one "
    assert said in type_in("status") and said in type_in("dead", "list")
    trimmed = type_in("dead", "list", as_json=True)["trimmed"]
    assert (trimmed["failed"], trimmed["invalid"], trimmed["invalid_at"]) == (30, 0, None)
    assert abs(trimmed["failed_at"] - world.redis.time()[0]) < 60
    shown = json.loads(worker.get("/api/status")[1])
    assert shown["trimmed"] == trimmed and "dead_trimmed_at" not in shown["totals"]


def test_the_loss_of_invalid_items_is_logged_as_such(world, type_in):
    worker = world.start_worker(dead_letters={"max": 10, "invalid_max": 3})
    world.enqueue("reject", 2)
    world.push(*[b"not json"] * 8)
    world.all_settled()
    until(lambda: dropped(worker), what="the worker says that items are lost")
    [line] = dropped(worker)
    assert "invalid items" in line and "dead_letters.invalid_max (3)" in line
    assert "5 invalid items were dropped, the last one " in type_in("status")
    assert "dead letters were dropped" not in type_in("status")
    assert len(world.dead()) == 5


def test_a_worker_that_starts_later_says_nothing_of_what_was_lost_before_it(world):
    first = world.start_worker(dead_letters={"max": 0})
    world.enqueue("reject", 3)
    world.all_settled()
    until(lambda: dropped(first), what="the first worker says it")
    first.drain()
    second = world.start_worker(dead_letters={"max": 0})
    until(
        lambda: second.metric("worker_dead_letters_trimmed_total", kind="failed") == 3,
        what="it has looked",
    )
    assert dropped(second) == []
    world.enqueue("reject")
    until(lambda: dropped(second), what="the second worker says what is lost now")
