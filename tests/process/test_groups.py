"""Groups: every member counts once, and what follows is pushed exactly once."""

from __future__ import annotations

import json
import random
import signal
import time

import pytest

from tests.support.waiting import until

HANDLERS = ["tests.support.result_handlers"]


@pytest.fixture
def start(world):
    def start_(**config):
        return world.start_worker(handlers=HANDLERS, **config)

    return start_


def noted(world):
    path = world.folder / "noted"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def note(data=None, **more):
    return {"type": "note", "data": data, **more}


def group(world, name, of, ex=60, **more):
    """Write a group as a producer does."""
    more = more or {"then": [note("then")], "otherwise": [note("otherwise")]}
    world.redis.set(world.keys.group(name), json.dumps({"of": of, **more}), ex=ex)


def member(name, n, kind="give", **more):
    return json.dumps({"type": kind, "group": f"{name}/{n}", **more})


def state(world, name):
    return world.redis.hget(world.keys.group_state(name), "state")


def test_when_all_members_have_succeeded_then_follows_once(world, start):
    start()
    group(world, "g", 50)
    world.push(*(member("g", n) for n in range(50)))
    world.all_settled()
    (one,) = noted(world)
    assert one["data"] == "then"
    assert one["parent"] == {"group": "g", "succeeded": 50, "failed": 0}
    assert state(world, "g") == b"succeeded"
    assert world.redis.zcard(world.keys.groups) == 0
    assert 0 < world.redis.ttl(world.keys.group_state("g")) <= 86_400
    assert 0 < world.redis.ttl(world.keys.group_ended("g")) <= 86_400


@pytest.mark.parametrize("kind", ["reject", "slow", "nobody_takes_it"])
def test_when_a_member_does_not_succeed_otherwise_follows_with_the_numbers(world, start, kind):
    start()
    group(world, "g", 3)
    world.push(member("g", 0), member("g", 1, kind), member("g", 2))
    world.all_settled()
    (one,) = noted(world)
    assert one["data"] == "otherwise"
    assert one["parent"] == {"group": "g", "succeeded": 2, "failed": 1}
    assert state(world, "g") == b"failed"


def test_members_that_were_doubled_or_requeued_count_once(world, start, type_in):
    worker = start()
    group(world, "g", 3)
    world.push(member("g", 0), member("g", 0), member("g", 1, "reject"))
    world.all_settled()
    world.accepted += type_in("dead", "requeue", "--all", as_json=True)["count"]
    world.all_settled()
    assert noted(world) == []
    world.push(member("g", 2))
    world.all_settled()
    world.push(member("g", 2))
    world.all_settled()
    assert [one["parent"] for one in noted(world)] == [{"group": "g", "succeeded": 2, "failed": 1}]
    assert worker.metric("worker_group_members_missing_total") == 0


def test_a_group_whose_members_do_not_come_ends_at_its_deadline(world, start):
    start()
    group(world, "g", 2, ex=2)
    world.push(member("g", 0))
    until(lambda: noted(world), 20, "what follows it")
    assert noted(world)[0]["data"] == "otherwise"
    assert noted(world)[0]["parent"] == {"group": "g", "succeeded": 1, "failed": 0, "expired": True}
    world.push(member("g", 1))
    world.all_settled()
    assert len(noted(world)) == 1
    assert state(world, "g") == b"expired"


WRONG = (
    *("no json", "[]", "{}", '{"of": 0}', '{"of": 1000001}', '{"of": 1.0}', '{"of": true}'),
    *('{"of": 1, "then": 5}', '{"of": 1, "then": [{}]}', '{"of": NaN}'),
    *('{"of": 1, "then": [{"type": "x", "list": "y"}]}', '{"of": 1}' + " " * 2**20),
)


def test_members_of_groups_that_are_missing_or_wrong_run_as_ever(world, start):
    worker = start()
    for number, wrong in enumerate(WRONG):
        world.redis.set(world.keys.group(f"w{number}"), wrong)
        world.push(member(f"w{number}", 0))
    world.redis.lpush(world.keys.group("list"), "x")
    world.redis.set(world.keys.group_state("state"), "x")
    group(world, "state", 1)
    group(world, "small", 1)
    world.push(member("nowhere", 0), member("list", 0), member("state", 0), member("small", 1))
    world.push(*(json.dumps({"type": "give", "group": odd}) for odd in (5, "g", "g/x", "g/-1", [])))
    world.all_settled()
    assert world.totals()["succeeded"] == len(WRONG) + 9
    assert noted(world) == []
    assert worker.metric("worker_group_members_missing_total") == len(WRONG) + 4
    assert "group 'nowhere', which is not there" in worker.log()


def test_trees_three_deep_end_once(world, start):
    start(concurrent=20)
    group(world, "top", 3, then=[note("top", group="no/0")], otherwise=[note("no")])
    for a in range(3):
        group(world, f"a{a}", 3, then=[{"type": "give", "group": f"top/{a}"}])
        for b in range(3):
            group(world, f"a{a}b{b}", 3, then=[{"type": "give", "group": f"a{a}/{b}"}])
    leaves = [f"a{a}b{b}" for a in range(3) for b in range(3)]
    world.push(*(member(name, n) for name in leaves for n in range(3)))
    world.all_settled(30)
    assert [one["parent"]["succeeded"] for one in noted(world)] == [3]


def test_groups_of_random_ends_and_killed_workers_are_followed_exactly_once(world, start):
    of, groups, size = random.Random(7), 40, 20
    ends = {}
    for name in range(groups):
        kinds = [of.choice(["give"] * 30 + ["reject", "third_time"]) for _ in range(size)]
        ends[str(name)] = kinds.count("reject")
        follow = [note(str(name))]
        group(world, name, size, ex=600, then=follow, otherwise=follow)
        world.push(*(member(name, n, kind) for n, kind in enumerate(kinds)))
    end = time.monotonic() + 8
    while world.settled() < groups * size and time.monotonic() < end:
        worker = start(concurrent=20, worker={"max_deliveries": 100})
        time.sleep(random.uniform(0.05, 0.5))
        worker.signal(signal.SIGKILL)
    start(concurrent=20, worker={"max_deliveries": 100})
    world.all_settled(60)
    told = {one["data"]: one["parent"] for one in noted(world)}
    assert {name: parent["failed"] for name, parent in told.items()} == ends
    assert world.totals()["followups"] == groups


def test_a_group_whose_members_run_past_its_end_is_followed_by_otherwise(world, start):
    start()
    group(world, "g", 1, ex=3)
    world.push(member("g", 0, "gated"))
    until(lambda: noted(world), 30, "the group has expired")
    (one,) = noted(world)
    assert (one["data"], one["parent"]["expired"]) == ("otherwise", True)
    world.open_gate()
    world.all_settled()
    assert len(noted(world)) == 1
