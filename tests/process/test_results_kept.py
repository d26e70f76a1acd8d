"""What became of a task, by its id: for how long, of which end, and for whoever waits."""

from __future__ import annotations

import json
import threading

import pytest
import redis

from tests.support.result_handlers import ODD
from tests.support.waiting import until

HANDLERS = ["tests.support.result_handlers"]


@pytest.fixture
def start(world):
    def start_(**config):
        return world.start_worker(handlers=HANDLERS, **config)

    return start_


@pytest.fixture
def result(world):
    """The result of a task once it is there."""

    client = redis.Redis.from_url(world.url, socket_timeout=60)

    def result_(task_id):
        key = world.keys.result(str(task_id))
        found = client.blmove(key, key, 30, "LEFT", "LEFT")
        assert found is not None, f"a result of {task_id}"
        assert world.redis.llen(key) == 1
        return json.loads(found)

    yield result_
    client.close()


def task(task_id, kind="give", data=None, **more):
    return json.dumps({"type": kind, "id": task_id, "data": data, "result_ttl": 60, **more})


def keys_of(world, kind):
    return list(world.redis.scan_iter(f"{world.keys.prefix}{kind}:*"))


VALUES = (None, 0, 9007199254740993, 1.5, [], {}, "é€😀", {"a": [1, {"b": None}]})


@pytest.mark.parametrize("kind", ["give", "give_in_thread", "give_in_process"])
def test_a_result_is_what_the_handler_returned(world, start, result, kind):
    start()
    for number, data in enumerate(VALUES):
        world.push(task(number, kind, data, enqueued_at=1764380000.5))
    for number, data in enumerate(VALUES):
        found = result(number)
        assert (found["state"], found["result"]) == ("succeeded", data)
        assert (found["id"], found["type"]) == (str(number), kind)
        assert (found["error"], found["reason"], found["traceback"]) == (None, None, None)
        assert (found["attempts"], found["deliveries"]) == (1, 1)
        assert found["enqueued"] == 1764380000.5
        now = world.redis.time()[0]
        assert now - 60 < found["started"] <= found["finished"] <= now + 2
        assert 0 < world.redis.ttl(world.keys.result(str(number))) <= 60
    world.all_settled()


@pytest.mark.parametrize("kind", ["odd", "odd_in_process"])
def test_what_is_not_json_or_too_large_fails_its_task_with_a_reason(world, start, result, kind):
    start()
    world.push(*(task(odd, kind, odd) for odd in ODD))
    world.all_settled()
    for odd in ODD:
        found = result(odd)
        assert (found["state"], found["reason"], found["result"]) == ("failed", "result", None)
        assert "the returned value" in found["error"], found
    assert {letter["reason"] for letter in world.dead()} == {b"result"}
    assert world.totals()["failed"] == len(ODD)


def test_a_result_that_nobody_keeps_may_be_anything(world, start):
    start()
    world.push(*(json.dumps({"type": "odd", "data": odd}) for odd in ODD))
    world.push(*(json.dumps({"type": "odd", "id": odd, "data": odd}) for odd in ODD))
    world.all_settled()
    assert world.totals()["succeeded"] == 2 * len(ODD)
    assert keys_of(world, "result") == []


def test_of_a_retried_task_the_last_attempt_counts(world, start, result):
    start()
    world.push(task(1, "third_time"))
    found = result(1)
    assert (found["state"], found["result"], found["attempts"]) == ("succeeded", 3, 3)


@pytest.mark.parametrize(
    ("kind", "state", "reason", "ran", "traced"),
    [
        ("reject", "failed", "rejected", True, False),
        ("slow", "failed", "timeout", True, True),
        ("nobody_takes_it", "failed", "no_handler", False, False),
        ("old", "dead", "expired", False, False),
    ],
)
def test_every_bad_end_has_a_result(world, start, result, kind, state, reason, ran, traced):
    start()
    world.push(task(1, kind, enqueued_at=world.redis.time()[0] - 60))
    found = result(1)
    assert (found["state"], found["reason"], found["result"]) == (state, reason, None)
    assert found["error"]
    assert (found["started"] is not None) is ran
    assert (found["traceback"] is not None) is traced
    world.all_settled()


def test_a_type_keeps_results_for_its_own_time_and_a_task_at_most_for_max_ttl(world, start, result):
    start(tasks={"give": {"result_ttl": "30s"}}, results={"max_ttl": "90s"})
    world.push('{"type": "give", "id": 1, "data": {}}', task(2, result_ttl=3600))
    world.push(task(3, result_ttl=0), '{"type": "give", "data": {}}', task("x" * 513))
    result(1), result(2)
    world.all_settled()
    assert 0 < world.redis.ttl(world.keys.result("1")) <= 30
    assert 30 < world.redis.ttl(world.keys.result("2")) <= 90
    assert len(keys_of(world, "result")) == 2


def test_an_odd_ttl_is_said_once_and_changes_nothing(world, start, result):
    worker = start(tasks={"give": {"result_ttl": "30s"}})
    for number, ttl in enumerate(("60", True, -1, 1e13, [60])):
        world.push(task(number, result_ttl=ttl), task(number + 10, result_ttl=ttl))
        assert result(number)["state"] == result(number + 10)["state"] == "succeeded"
        assert 0 < world.redis.ttl(world.keys.result(str(number))) <= 30
        assert worker.log().count("an odd result_ttl") == number + 1


def test_a_requeue_removes_the_old_result_and_a_new_end_writes_another(
    world, start, result, type_in
):
    start().drain()
    worker = start()
    world.push(task(1, "reject", "milk"))
    assert result(1)["state"] == "failed"
    worker.drain()
    world.accepted += type_in("dead", "requeue", "--all", as_json=True)["count"]
    assert world.redis.exists(world.keys.result("1")) == 0
    start()
    assert result(1)["error"] == "Reject: no milk"


def test_a_key_of_another_type_in_the_way_costs_the_result_and_nothing_else(world, start):
    world.redis.set(world.keys.result("1"), "mine")
    world.redis.lpush(world.keys.state("2"), "mine")
    world.open_gate()
    start()
    world.push(task(1), task(2, "gated"))
    world.all_settled()
    assert world.redis.get(world.keys.result("1")) == b"mine"
    assert world.redis.lrange(world.keys.state("2"), 0, -1) == [b"mine"]
    assert world.totals()["results_refused"] == 1
    assert world.redis.llen(world.keys.result("2")) == 1


def test_a_state_is_told_while_its_task_runs_and_gone_when_it_has_ended(world, start, result):
    start()
    world.push(task(1, "gated", "x"))
    until(lambda: world.redis.get(world.keys.state("1")) == b"running", what="it is told to run")
    assert world.redis.ttl(world.keys.state("1")) > 0
    assert world.redis.exists(world.keys.result("1")) == 0
    world.open_gate()
    assert result(1)["result"] == "x"
    assert world.redis.exists(world.keys.state("1")) == 0


def test_the_state_of_a_task_that_is_given_back_is_waiting(world, start):
    worker = start(worker={"drain_timeout": 0.1})
    world.push(task(1, "gated"))
    until(lambda: world.redis.get(world.keys.state("1")) == b"running", what="it runs")
    worker.drain()
    assert world.redis.get(world.keys.state("1")) == b"waiting"


def test_many_who_wait_for_one_result_all_get_it(world, start):
    found, keys = [], world.keys

    def wait():
        client = redis.Redis.from_url(world.url, socket_timeout=60)
        found.append(client.blmove(keys.result("1"), keys.result("1"), 45, "LEFT", "LEFT"))
        client.close()

    waiters = [threading.Thread(target=wait) for _ in range(50)]
    for one in waiters:
        one.start()
    until(lambda: world.redis.info("clients")["blocked_clients"] >= 50, what="fifty wait")
    start()
    world.push(task(1, data="x"))
    for one in waiters:
        one.join(60)
    assert len({*found}) == 1
    assert len(found) == 50
    assert found[0] is not None


def test_a_result_goes_when_its_time_has_passed(world, start, result):
    start()
    world.push(task(1, result_ttl=1))
    result(1)
    until(lambda: keys_of(world, "result") == [], 10, "it is gone")


def test_results_of_many_large_tasks_are_settled_in_small_parts(world, start, result):
    start(concurrent=200)
    world.push(*(task(n, data="x" * 60_000) for n in range(200)))
    world.all_settled(30)
    assert result(199)["result"] == "x" * 60_000
    assert len(keys_of(world, "result")) == 200


def test_a_poison_task_is_settled_without_a_run_and_has_a_result(world, start, result):
    world.push(task(1, "die"))
    for _ in range(2):
        start(worker={"max_deliveries": 2}, wait=False).exit_code(20)
    last = start(worker={"max_deliveries": 2})
    found = result(1)
    assert (found["state"], found["reason"], found["deliveries"]) == ("dead", "poison", 2)
    assert (found["started"], found["error"]) == (None, "its worker died 2 times while it ran")
    world.all_settled()
    assert last.metric("worker_tasks_total", type="die", outcome="dead") == 1
    assert world.dead()[0]["type"] == b"die"
    assert "(die) is a dead letter" in last.log()
