"""A requeued dead letter starts again as if it had been pushed just now, whatever made it dead."""

from __future__ import annotations

import pytest

from tests.support.waiting import until

HOUR_S = 3600
EXPIRES = {name: {"expires": "5m"} for name in ("note", "gate", "sleep")}


def old(world, **more):
    """The times of a task that was pushed an hour ago, by the server's clock."""
    return {"enqueued_at": world.redis.time()[0] - HOUR_S, **more}


def requeue(world, type_in, *choice):
    """Requeue, and count what was requeued as accepted again."""
    moved = type_in("dead", "requeue", *(choice or ("--all",)), as_json=True)["count"]
    world.accepted += moved
    return moved


def expire(world, type_in, kind="note", count=1, **data):
    """Let tasks expire, and requeue them with the queue paused. Returns nothing."""
    world.enqueue(kind, count, extra=old(world), **data)
    world.all_settled()
    assert world.totals()["dead"] == count
    type_in("pause")
    assert requeue(world, type_in) == count


@pytest.mark.parametrize("field", ["enqueued_at", "run_at", r"enqueued\u005fat"])
def test_an_expired_task_runs_after_it_was_requeued_byte_for_byte(world, type_in, field):
    worker = world.start_worker(tasks=EXPIRES)
    at = world.redis.time()[0] - HOUR_S
    item = b'{ "type":"note", "data":{"id":7},  "%s":%d }' % (field.encode(), at)
    world.push(item)
    world.all_settled()
    (letter,) = world.dead()
    assert letter["reason"] == b"expired"
    type_in("pause")
    requeue(world, type_in)
    assert world.items() == [item]
    type_in("resume")
    world.all_settled()
    assert world.runs()[7] == 1 and world.totals()["succeeded"] == 1
    assert world.redis.exists(world.keys.requeued, world.keys.meta) == 0
    worker.drain()


def test_a_requeued_task_that_waits_too_long_again_expires_again(world, type_in):
    world.start_worker(tasks={"note": {"expires": "1s"}})
    expire(world, type_in)
    seconds = world.redis.time()[0]
    until(lambda: world.redis.time()[0] > seconds + 2, what="it has waited for too long")
    type_in("resume")
    world.all_settled()
    (letter,) = world.dead()
    assert letter["reason"] == b"expired"
    assert float(letter["error"].split()[2]) < 60, "counted from its requeue"


def test_of_tasks_with_the_same_bytes_as_many_run_as_were_requeued(world, type_in):
    world.start_worker(tasks=EXPIRES)
    world.enqueue("note", 5, extra=old(world), id="same")
    world.all_settled()
    ids = [letter["id"] for letter in type_in("dead", "list", as_json=True)["letters"]]
    type_in("pause")
    for one in ids[:3]:
        requeue(world, type_in, one)
    world.enqueue("note", 2, extra={"enqueued_at": world.redis.time()[0] - HOUR_S}, id="same")
    type_in("resume")
    world.all_settled()
    assert world.runs()["same"] == 3
    assert world.totals()["dead"] == 5 + 2


def test_a_requeued_task_whose_worker_dies_still_starts_again(world, type_in):
    doomed = world.start_worker(tasks=EXPIRES)
    expire(world, type_in, "gate")
    type_in("resume")
    until(lambda: world.runs()[0] == 1, what="it runs")
    doomed.kill()
    world.open_gate()
    world.start_worker(tasks=EXPIRES)
    world.all_settled()
    assert world.runs()[0] == 2
    assert world.totals()["succeeded"] == 1


def test_a_requeued_task_that_is_released_at_a_drain_still_starts_again(world, type_in):
    first = world.start_worker(tasks=EXPIRES, worker={"drain_timeout": 0.2})
    expire(world, type_in, "gate")
    type_in("resume")
    until(lambda: world.runs()[0] == 1, what="it runs")
    first.drain()
    assert world.waiting() == 1
    world.open_gate()
    world.start_worker(tasks=EXPIRES)
    world.all_settled()
    assert world.totals()["succeeded"] == 1


def test_a_requeued_task_that_a_limit_or_a_pause_holds_back_still_starts_again(world, type_in):
    tasks = {"note": {"expires": "5m", "max_concurrent_total": 1}}
    world.start_worker(tasks=tasks, concurrent=5)
    expire(world, type_in, count=8)
    type_in("pause", "--type", "note")
    until(lambda: world.workers[0].status()["paused_types"], what="the worker knows")
    type_in("resume")
    until(lambda: world.held() == 8, what="all are set aside")
    type_in("resume", "--type", "note")
    world.all_settled()
    assert world.totals()["succeeded"] == 8


def test_a_requeued_task_that_is_retried_still_starts_again(world, type_in):
    tasks = {"raise": {"expires": "5m", "retries": 2, "backoff": "10ms"}}
    world.start_worker(tasks=tasks)
    world.enqueue("raise", extra=old(world), kind="ValueError")
    world.all_settled()
    type_in("pause")
    requeue(world, type_in)
    type_in("resume")
    world.all_settled()
    (letter,) = world.dead()
    assert (letter["reason"], letter["attempts"]) == (b"error", b"3")
    assert world.runs()[0] == 3


def test_poison_is_found_by_its_type_and_starts_with_all_its_deliveries(world, type_in):
    settings = {"max_deliveries": 1}
    doomed = world.start_worker(worker=settings)
    world.enqueue("gate")
    until(lambda: world.runs()[0] == 1, what="it runs")
    doomed.kill()
    world.start_worker(worker=settings)
    world.all_settled()
    (letter,) = world.dead()
    assert letter["reason"] == b"poison"

    assert " poison  gate" in type_in("dead", "list", "--type", "gate")
    [listed] = type_in("dead", "list", "--type", "gate", as_json=True)["letters"]
    assert "type       gate" in type_in("dead", "show", listed["id"])
    assert requeue(world, type_in, "--type", "note") == 0
    assert requeue(world, type_in, "--type", "gate", "--reason", "poison") == 1
    world.open_gate()
    world.all_settled()
    assert world.runs()[0] == 2
    assert world.totals()["succeeded"] == 1


def test_a_duplicate_runs_once_the_first_one_has_ended(world, type_in):
    world.start_worker(tasks={"gate": {"unique": True}}, concurrent=2)
    world.enqueue("gate", id=1, extra={"id": "same"})
    until(lambda: world.runs()[1] == 1, what="the first one runs")
    world.enqueue("gate", id=2, extra={"id": "same"})
    until(lambda: world.totals()["dead"] == 1, what="the second one is a duplicate")
    world.open_gate()
    world.all_settled()
    assert requeue(world, type_in, "--reason", "duplicate") == 1
    world.all_settled()
    assert world.runs()[2] == 1 and world.totals()["succeeded"] == 2


def test_a_cancelled_task_runs_to_its_end(world, type_in):
    world.start_worker()
    world.enqueue("gate")
    until(lambda: world.runs()[0] == 1, what="it runs")
    [tag] = world.redis.hkeys(world.keys.inflight)
    type_in("cancel", tag.decode())
    world.open_gate()
    assert requeue(world, type_in, "--reason", "cancelled") == 1
    world.all_settled()
    assert world.runs()[0] == 2 and world.totals()["succeeded"] == 1


def test_a_task_that_failed_after_its_retries_has_all_of_them_again(world, type_in):
    world.start_worker(tasks={"raise": {"retries": 2, "backoff": "10ms"}})
    world.enqueue("raise", kind="ValueError")
    world.all_settled()
    requeue(world, type_in)
    world.all_settled()
    assert world.runs()[0] == 6
    assert [letter["attempts"] for letter in world.dead()] == [b"3"]


def test_a_requeued_task_does_not_count_as_waiting_since_it_was_first_pushed(world, type_in):
    """Or old letters that are requeued would fire every alert on waits."""
    worker = world.start_worker()
    world.enqueue("raise", 3, extra=old(world), kind="ValueError")
    world.all_settled()
    before = worker.metric("worker_task_wait_seconds_sum", type="raise")
    type_in("pause")
    requeue(world, type_in)
    until(lambda: worker.metric("worker_queue_depth", state="waiting") == 3, what="it has looked")
    assert worker.metric("worker_queue_oldest_age_seconds") < 60
    status = type_in("status", "--over", "0", as_json=True)
    assert status["oldest_waiting_s"] is None
    type_in("resume")
    world.all_settled()
    until(lambda: worker.metric("worker_tasks_total", type="raise", outcome="failed") == 6)
    assert worker.metric("worker_task_wait_seconds_sum", type="raise") - before < 60


def test_notes_of_items_that_somebody_removed_are_forgotten_when_the_queue_is_empty(world, type_in):
    world.start_worker(tasks=EXPIRES)
    expire(world, type_in, count=4)
    for item in world.items()[:2]:
        world.redis.lrem(world.keys.queue, 1, item)
        world.redis.lrem(world.keys.arrivals, 1, item)
        world.accepted -= 1
    type_in("resume")
    world.all_settled()
    until(lambda: not world.redis.exists(world.keys.requeued), what="the notes are gone")
