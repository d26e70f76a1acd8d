"""The client for Python and real workers: what handlers return comes back to who asked for it."""

from __future__ import annotations

import threading

import pytest

from taskrig import Queue
from taskrig.errors import TaskrigError
from tests.support.waiting import until

RETURNS = {"handlers": ["tests.support.result_handlers"]}
TRACKED = {"tasks": {"gate": {"track": True, "result_ttl": "1m"}}}


@pytest.fixture
def client(world):
    with Queue(world.url, settings=TRACKED) as one:
        yield one


def test_what_a_handler_returned_is_the_result(world, client):
    world.start_worker(**RETURNS)
    name = client.enqueue("give", [1, "é"], result_ttl=60)
    found = client.result(name, timeout=30)
    assert (found.state, found.result, found.type) == ("succeeded", [1, "é"], "give")
    assert found.started <= found.finished and found.attempts == found.deliveries == 1


def test_a_tracked_task_waits_and_runs_until_it_has_a_result(world, client):
    name = client.enqueue("gate", {"id": "g"})
    assert client.state(name) == "waiting"
    world.start_worker(**TRACKED)
    until(lambda: client.state(name) == "running")
    found = []
    waiter = threading.Thread(target=lambda: found.append(client.result(name, timeout=60)))
    waiter.start()
    world.open_gate()
    waiter.join(30)
    assert found[0].succeeded and client.state(name) == "succeeded"


def test_a_task_that_was_dropped_has_a_result_that_says_so(world, client, type_in):
    name = client.enqueue("gate")
    asked = client.enqueue("note", result_ttl=60, delay=3600)
    assert client.cancel(name) == "dropped"
    type_in("queue", "drop", asked, "--yes")
    for one in (name, asked):
        found = client.result(one, timeout=0)
        assert (found.state, found.reason) == ("dead", "cancelled")
        assert 0 < world.redis.ttl(world.keys.result(one)) <= 60
    assert client.state(name) == "dead" and not world.redis.exists(world.keys.state(name))


def test_a_dropped_task_pushes_its_otherwise_and_counts_in_its_group(world, client):
    k = world.keys
    follow = {"type": "note", "data": {"id": "f"}, "pass_result": True}
    world.redis.set(k.group("g"), '{"of": 2, "otherwise": [{"type": "note", "id": "o"}]}', ex=600)
    name = client.enqueue("note", {"id": "m"}, group="g/0", otherwise=[follow], delay=3600)
    with pytest.raises(TaskrigError, match="no worker has seen to the task's group yet"):
        client.cancel(name)
    world.start_worker()
    client.enqueue("note", {"id": "n"}, group="g/1")
    until(lambda: world.redis.hget(k.group_state("g"), "succeeded") == b"1")
    until(lambda: world.redis.zcard(k.delayed) == 1)
    assert client.cancel(name) == "dropped"
    until(lambda: world.redis.hget(k.group_state("g"), "state") == b"failed")
    until(lambda: len(world.journal("start")) == 3, what="the member, the follow-up, the group's")
