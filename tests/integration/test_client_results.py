"""What became of a task, by the client: results are waited for, states read, tasks cancelled."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest

from taskrig import Queue, TaskResult
from taskrig.client import wires
from taskrig.keys import Keys
from tests.support.waiting import until, until_async

K = Keys.of("async_tasks")


@pytest.fixture
def client(redis_url):
    with Queue(redis_url) as one:
        yield one


def leave(redis_client, name, state="succeeded", ttl=60, **more):
    """What a worker leaves behind."""
    document = {"id": name, "type": "t", "state": state, "result": None, **more}
    with redis_client.pipeline() as both:
        both.rpush(K.result(name), json.dumps(document)).expire(K.result(name), ttl)
        both.execute()


def blocked(redis_client):
    return redis_client.info("clients")["blocked_clients"]


def test_a_result_has_what_its_worker_left(client, redis_client):
    leave(redis_client, "r", result={"n": 10**30}, attempts=2, worker="w", finished=5.5, new="?")
    found = client.result("r", timeout=0)
    assert found == TaskResult(
        "r", "succeeded", "t", {"n": 10**30}, attempts=2, worker="w", finished=5.5
    )
    assert found.succeeded and redis_client.llen(K.result("r")) == 1
    assert redis_client.ttl(K.result("r")) > 0


def test_without_a_result_there_is_none_when_the_time_is_up(client, redis_client):
    began = time.monotonic()
    assert client.result("none", timeout=0.3) is None
    assert time.monotonic() - began >= 0.3
    assert client.result("none", timeout=0) is None
    redis_client.rpush(K.result("rubbish"), "[")
    assert client.result("rubbish", timeout=0) is None
    with pytest.raises(ValueError, match="timeout must be seconds from 0"):
        client.result("none", timeout=-1)


def test_a_wait_ends_with_the_result_and_the_server_is_not_asked_again_and_again(
    client, redis_client
):
    found = []
    waiter = threading.Thread(target=lambda: found.append(client.result(7, timeout=60)))
    waiter.start()
    until(lambda: blocked(redis_client) == 1)
    before = redis_client.info("commandstats")["cmdstat_lrange"]["calls"]
    leave(redis_client, "7", "failed", reason="error", error="ValueError: x")
    waiter.join(30)
    assert (found[0].state, found[0].error, found[0].id) == ("failed", "ValueError: x", "7")
    assert redis_client.info("commandstats")["cmdstat_lrange"]["calls"] == before
    assert redis_client.llen(K.result("7")) == 1


async def test_many_wait_at_once_and_all_are_answered(redis_url, redis_client, monkeypatch):
    monkeypatch.setattr(wires, "MOST_HELD", 20)
    async with Queue(redis_url) as client:
        names = [f"r{n}" for n in range(100)]
        waiters = asyncio.gather(*(client.aresult(name, timeout=60) for name in names))
        await until_async(lambda: blocked(redis_client) == 20)
        for name in names:
            leave(redis_client, name, result=name)
        assert [one.result for one in await waiters] == names
        assert await client.aresult("r0", timeout=0)


@pytest.mark.parametrize("rights", ["-blmove", "+@all"])
def test_where_the_server_cannot_be_waited_on_it_is_looked_at(redis_url, redis_client, rights):
    redis_client.execute_command("ACL", "SETUSER", "c", "reset", "on", ">pw", "~*", "+@all", rights)
    memory = redis_client.config_get("maxmemory")["maxmemory"]
    found = []
    redis_client.config_resetstat()
    try:
        with Queue(redis_url, settings={"redis": {"username": "c", "password": "pw"}}) as client:
            waiter = threading.Thread(target=lambda: found.append(client.result("r", timeout=60)))
            leave(redis_client, "other")
            if rights == "+@all":
                redis_client.config_set("maxmemory", "1")  # a full server refuses the move
            waiter.start()
            until(lambda: _looks(redis_client) >= 3, what="it looks again")
            assert blocked(redis_client) == 0
            redis_client.config_set("maxmemory", memory)
            leave(redis_client, "r")
            waiter.join(30)
    finally:
        redis_client.config_set("maxmemory", memory)
        redis_client.execute_command("ACL", "DELUSER", "c")
    assert found[0].succeeded


def _looks(redis_client):
    return redis_client.info("commandstats").get("cmdstat_lrange", {}).get("calls", 0)


async def test_a_state_is_that_of_a_tracked_task_or_of_a_result(redis_url, redis_client):
    async with Queue(redis_url) as client:
        assert client.state("x") is None
        redis_client.set(K.state("x"), "running")
        assert client.state("x") == "running" == await client.astate("x")
        redis_client.delete(K.state("x"))
        leave(redis_client, "x", "dead")
        assert client.state("x") == "dead"


async def test_a_waiting_task_is_cancelled_and_a_running_ones_worker_asked(
    redis_url, redis_client, queue
):
    hand = queue.hand("w")
    async with Queue(redis_url) as client:
        client.enqueue("a", id="runs")
        await hand.claim(1)
        client.enqueue_many([{"type": "a", "id": n} for n in range(5)])
        assert client.cancel(3) == "dropped"
        assert await client.acancel(4) == "dropped"
        assert client.cancel(3) == "ended"
        assert client.cancel("runs") == "asked" == client.cancel("runs")
        assert await client.acancel("nothing") == "not_found"
    assert (await hand.exchange()).cancel == ["w:1"]
    assert redis_client.llen("async_tasks") == 3
    letters = [letter for _, letter in redis_client.xrange(K.dead)]
    assert [letter[b"error"] for letter in letters] == [b"its producer cancelled it"] * 2
