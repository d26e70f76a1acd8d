"""Tasks that follow others: pushed in the step that settles, or not at all."""

from __future__ import annotations

import json
import random
import signal
import time

import pytest

from tests.support.waiting import until

HANDLERS = ["tests.support.result_handlers"]
KINDS = ["fan_out", "fan_out_in_thread", "fan_out_in_process"]


@pytest.fixture
def start(world):
    def start_(**config):
        return world.start_worker(handlers=HANDLERS, **config)

    return start_


def noted(world):
    """What `note` noted, in order."""
    path = world.folder / "noted"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def task(kind="give", data=None, **more):
    return json.dumps({"type": kind, "data": data, **more})


def note(data=None, **more):
    return {"type": "note", "data": data, **more}


def test_then_follows_a_success_and_otherwise_a_failure(world, start):
    start()
    both = {"then": [note("then"), note("too")], "otherwise": [note("otherwise")]}
    world.push(task(**both))
    world.all_settled()
    assert [one["data"] for one in noted(world)] == ["then", "too"]
    world.push(task("reject", **both))
    world.all_settled()
    assert [one["data"] for one in noted(world)] == ["then", "too", "otherwise"]
    assert world.totals()["followups"] == 3


def test_every_end_that_is_no_success_is_followed_by_otherwise(world, start):
    start()
    for kind in ("reject", "slow", "old", "nobody_takes_it"):
        follow = [note(kind, pass_result=True)]
        world.push(task(kind, id=kind, enqueued_at=1764380000, then=[note("no")], otherwise=follow))
    world.all_settled()
    told = {one["data"]: one["parent"] for one in noted(world)}
    states = {kind: parent["state"] for kind, parent in told.items()}
    assert states == {
        "reject": "failed",
        "slow": "failed",
        "old": "dead",
        "nobody_takes_it": "failed",
    }
    assert all(parent["error"] and parent["result"] is None for parent in told.values())
    assert {kind: parent["id"] for kind, parent in told.items()} == {kind: kind for kind in told}


def test_a_retry_is_followed_by_nothing_until_its_end(world, start):
    start()
    world.push(task("third_time", then=[note(pass_result=True)], otherwise=[note("no")]))
    world.all_settled()
    (one,) = noted(world)
    assert one["parent"]["result"] == 3


def test_a_duplicate_is_followed_by_otherwise(world, start):
    start(tasks={"gated": {"unique": True}})
    world.push(task("gated", "x", id=1, then=[note("then")]))
    until(lambda: world.in_flight() == 1)
    world.push(task("gated", id=1, otherwise=[note("twice")]))
    until(lambda: noted(world), what="the duplicate's is there")
    world.open_gate()
    world.all_settled()
    assert [one["data"] for one in noted(world)] == ["twice", "then"]
    assert json.loads(world.redis.lindex(world.keys.result("1"), 0))["state"] == "succeeded"


def test_a_poison_task_is_followed_by_otherwise(world, start):
    world.push(task("die", otherwise=[note("poison")]))
    start(worker={"max_deliveries": 1}, wait=False).exit_code(30)
    start(worker={"max_deliveries": 1})
    world.all_settled(30)
    assert [one["data"] for one in noted(world)] == ["poison"]


def test_a_follow_up_is_pushed_as_it_stands_in_its_task(world, start):
    start()
    data = {"big": 12345678901234567890123, "a": [], "o": {}, "e": "é😀"}
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    follow = [note(data, mine=1.5), note("own", traceparent="x")]
    world.push(task(traceparent=trace, run="r:1", then=follow))
    world.all_settled()
    first, own = noted(world)
    assert (first["data"], first["task"]["mine"]) == (data, 1.5)
    assert (first["task"]["traceparent"], own["task"]["traceparent"]) == (trace, "x")
    assert "run" not in first["task"]


def test_a_chain_passes_results_along(world, start):
    start()
    chain = note(pass_result=True)
    for number in reversed(range(10)):
        chain = {"type": "give", "data": number, "id": number, "pass_result": True, "then": [chain]}
    world.push(json.dumps(chain))
    world.all_settled()
    (last,) = noted(world)
    assert last["parent"] == {
        "id": "9",
        "type": "give",
        "state": "succeeded",
        "result": 9,
        "error": None,
    }


def test_a_follow_up_goes_to_the_list_that_it_names(world, start):
    urgent = "urgent{async_tasks}"
    lists = {"queue": {"lists": [urgent, "async_tasks"]}}
    start(worker={"max_tasks": 1}, **lists)
    world.push(task(then=[note("then", list=urgent), note("here")]))
    world.push(task("fan_out", {"n": 1, "with": {"list": urgent}}))
    until(lambda: world.redis.llen(urgent) == 1, what="it is in its list")
    start(**lists)
    world.all_settled(30)
    assert len(noted(world)) == 3


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"then": 1}, b"then_not_tasks"),
        ({"then": {}}, b"then_not_tasks"),
        ({"otherwise": [1]}, b"then_not_tasks"),
        ({"then": [{}]}, b"then_not_tasks"),
        ({"then": [{"type": 5}]}, b"then_not_tasks"),
        ({"then": [{"type": "x" * 257}]}, b"then_not_tasks"),
        ({"then": [{"type": "x", "list": 5}]}, b"then_not_tasks"),
        ({"then": [{"type": "x"}] * 1000}, b"too_many_follow_ups"),
        ({"otherwise": [{"type": "x", "list": "elsewhere"}]}, b"unknown_list"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_follow_is_invalid_with_a_reason(world, start, wrong, reason):
    worker = start()
    world.push(task(id=1, **wrong))
    world.all_settled()
    (letter,) = world.dead()
    assert (letter["outcome"], letter["reason"]) == (b"invalid", reason)
    assert worker.alive


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_handler_enqueues_is_pushed_when_it_succeeds(world, start, kind):
    start()
    world.push(task(kind, {"n": 3, "with": {"id": "x", "result_ttl": 60}}, id=1, result_ttl=60))
    world.all_settled()
    assert [one["data"]["n"] for one in noted(world)] == [0, 1, 2]
    assert {one["id"] for one in noted(world)} == {"x"}
    assert json.loads(world.redis.lindex(world.keys.result("1"), 0))["result"] == "done"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_handler_enqueues_and_then_fails_is_pushed_never(world, start, kind):
    start(tasks={kind: {"retries": 2, "backoff": "10ms"}})
    world.push(task(kind, {"n": 3, "fail": True}))
    world.all_settled()
    assert world.totals()["retried"] == 2
    assert noted(world) == []


def test_a_handler_that_is_killed_and_runs_again_enqueues_once(world, start):
    world.push(task("fan_out", {"n": 3, "die": True}))
    start(wait=False).exit_code(30)
    start()
    world.all_settled(30)
    assert [one["data"]["n"] for one in noted(world)] == [0, 1, 2]


def test_workers_killed_at_any_moment_double_and_lose_no_follow_ups(world, start):
    count = 200
    for number in range(count):
        follow = [note({"then": number})]
        world.push(task("fan_out", {"n": 3}, id=number, result_ttl=60, then=follow))
    end = time.monotonic() + 8
    worker = start(concurrent=20, worker={"max_deliveries": 100})
    while world.totals()["succeeded"] < count and time.monotonic() < end:
        time.sleep(random.uniform(0.05, 0.4))
        worker.signal(signal.SIGKILL)
        worker = start(concurrent=20, worker={"max_deliveries": 100})
    world.all_settled(60)
    assert world.totals()["followups"] == 4 * count
    assert world.totals()["succeeded"] == 5 * count


@pytest.mark.parametrize("more", [{"list": "elsewhere"}, {"then": 5}, {"list": 5}], ids=str)
def test_what_a_handler_cannot_enqueue_fails_it(world, start, more):
    start()
    world.push(task("fan_out", {"n": 1, "with": more}))
    world.all_settled()
    assert world.totals()["failed"] == 1
    assert noted(world) == []


def test_a_handler_that_enqueues_a_thousand_fails(world, start):
    start()
    world.push(task("fan_out", {"n": 1000}))
    world.all_settled()
    (letter,) = world.dead()
    assert b"at most 100 tasks" in letter["error"]
    assert noted(world) == []


def test_a_unique_task_that_enqueues_its_own_id_is_not_its_own_duplicate(world, start):
    start()
    world.push(task("once_more", 3, id="me"))
    world.all_settled()
    assert noted(world) == [3, 2, 1, 0]
    assert world.totals()["succeeded"] == 4


ODD = (
    *(None, True, False, 0, -1, 1.5, 1e300, 10**30, "", "x", "x" * 600, "\x00", [], [[]], {}),
    *([{}], [1], [None], {"type": "note"}, [{"type": "note"}], [{"type": "nobody"}]),
    *([{"type": "note", "list": "x"}], [{"type": "note", "then": 5}], [{"type": ""}]),
    *([{"type": "note", "pass_result": True}] * 3, [{"type": "note", "data": None}] * 101),
)
FIELDS = ("id", "result_ttl", "then", "otherwise", "pass_result", "list", "parent", "group")


def random_task(of):
    """A task with some of the fields in some shape."""
    kind = of.choice(["give", "note", "reject", "third_time", "fan_out", "nobody", "odd"])
    fields = {name: of.choice(ODD) for name in FIELDS if of.random() < 0.4}
    return json.dumps({"type": kind, "data": of.choice(ODD), **fields})


@pytest.mark.parametrize("seed", [1, 2])
def test_fields_of_any_shape_lose_nothing_and_end_no_worker(world, start, seed):
    of = random.Random(seed)
    worker = start(concurrent=20, tasks={"give": {"track": True, "result_ttl": "1m"}})
    world.push(*(random_task(of) for _ in range(1500)))
    world.all_settled(90)
    assert worker.alive


@pytest.mark.parametrize("other", ["null", "[]", '[{"type": "note"}]'])
def test_a_deep_follow_up_is_pushed_whatever_stands_beside_it(world, start, other):
    worker = start()
    deep = "[" * 490 + "]" * 490
    then = f'[{{"type": "note", "data": {deep}}}]'
    world.push(f'{{"type": "give", "then": {then}, "otherwise": {other}}}')
    world.all_settled()
    assert len(noted(world)) == 1
    assert worker.drain() == 0
