"""The client for Python at a real Redis: tasks are pushed once, and a lost answer is said."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from taskrig import Queue
from taskrig.errors import PushFailed
from taskrig.keys import Keys
from taskrig.task import decode
from tests.support.losing_proxy import LosingProxy
from tests.support.servers import free_port
from tests.support.waiting import until

K = Keys.of("async_tasks")


@pytest.fixture
def client(redis_url):
    with Queue(redis_url) as one:
        yield one


@pytest.fixture
def losing(redis_url):
    parts = urlsplit(redis_url)
    with closing(LosingProxy((parts.hostname, parts.port), b"LPUSH")) as proxy:
        yield proxy


def pushed(redis_client, key="async_tasks"):
    return [decode(raw) for raw in reversed(redis_client.lrange(key, 0, -1))]


def test_a_task_is_pushed_and_its_id_returned(client, redis_client):
    name = client.enqueue("email", {"to": "a"}, tenant=3)
    [task] = pushed(redis_client)
    assert (task.type, task.data, task.id, task.fields["tenant"]) == ("email", {"to": "a"}, name, 3)


def test_many_tasks_are_pushed_in_order_in_one_call(client, redis_client):
    before = redis_client.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0)
    names = client.enqueue_many(Queue.task("a", n, id=n) for n in range(1000))
    assert redis_client.info("commandstats")["cmdstat_lpush"]["calls"] == before + 1
    assert names == [str(n) for n in range(1000)] == [task.id for task in pushed(redis_client)]
    assert client.enqueue_many([]) == []


def test_one_bad_task_among_many_means_that_none_is_pushed(client, redis_client):
    with pytest.raises(ValueError, match="type_empty"):
        client.enqueue_many([{"type": "a"}, {"type": ""}])
    assert not redis_client.exists("async_tasks")


def test_a_queue_that_pops_left_is_pushed_to_on_the_right(redis_url, redis_client):
    with Queue(redis_url, settings={"queue": {"pop": "left"}}) as client:
        client.enqueue("first")
        client.enqueue("second")
    assert [decode(raw).type for raw in redis_client.lrange("async_tasks", 0, -1)] == [
        "first",
        "second",
    ]


def test_a_list_of_the_queue_may_be_chosen_whether_the_config_or_redis_knows_it(
    client, redis_url, redis_client
):
    with Queue(redis_url, settings={"queue": {"lists": ["urgent", "async_tasks"]}}) as told:
        told.enqueue("a", list="urgent")
    with pytest.raises(ValueError, match="'urgnt' is not a list of this queue"):
        client.enqueue("b", list="urgnt")
    redis_client.sadd(K.lists, "async_tasks", "urgent")
    with pytest.raises(ValueError, match="did you mean urgent"):
        client.enqueue("b", list="urgnt")
    client.enqueue("b", list="urgent")
    assert [task.type for task in pushed(redis_client, "urgent")] == ["a", "b"]


async def test_event_loops_push_as_threads_do(redis_url, redis_client):
    async with Queue(redis_url) as client:
        names = await asyncio.gather(*(client.aenqueue("a", n) for n in range(50)))
        names += await client.aenqueue_many([{"type": "b"}, {"type": "c", "id": "mine"}])
    tasks = pushed(redis_client)
    assert {task.id for task in tasks} == set(names) and names[-1] == "mine"
    assert [task.type for task in tasks[-2:]] == ["b", "c"]


def test_one_queue_serves_one_event_loop_after_another(client, redis_client):
    async def push():
        await client.aenqueue("a")
        await client.aclose()

    for _ in range(3):
        asyncio.run(push())
    client.enqueue("b")
    assert redis_client.llen("async_tasks") == 4


async def test_a_push_that_is_cancelled_leaves_the_queue_usable(redis_url, redis_client):
    async with Queue(redis_url) as client:
        await client.aenqueue("a")
        redis_client.execute_command("CLIENT", "PAUSE", 200)
        late = asyncio.create_task(client.aenqueue("late"))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.wait([late])
        name = await client.aenqueue("next")
    assert name in [task.id for task in pushed(redis_client)]


def test_threads_share_a_queue(client, redis_client):
    def push(n):
        for i in range(50):
            client.enqueue("a", [n, i])

    threads = [threading.Thread(target=push, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(task.data for task in pushed(redis_client)) == [
        [n, i] for n in range(8) for i in range(50)
    ]


def test_a_forked_child_pushes_over_a_connection_of_its_own(client, redis_client):
    client.enqueue("before")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            client.enqueue("child")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    client.enqueue("after")
    assert [task.type for task in pushed(redis_client)] == ["before", "child", "after"]


def test_a_lost_answer_is_an_error_that_says_so_and_nothing_is_sent_again(losing, redis_client):
    with Queue(f"redis://127.0.0.1:{losing.port}/0") as client:
        with pytest.raises(PushFailed, match="may or may not have been pushed") as failed:
            client.enqueue("a", id="x")
        assert (failed.value.pushed, failed.value.unsure) == ((), ("x",))
        assert losing.commands == 1 and redis_client.llen("async_tasks") == 1
        client.enqueue("b")  # the next call connects again
    assert redis_client.llen("async_tasks") == 2


async def test_a_lost_answer_says_so_in_event_loops_too(losing, redis_client):
    async with Queue(f"redis://127.0.0.1:{losing.port}/0") as client:
        with pytest.raises(PushFailed, match="may or may not have been pushed") as failed:
            await client.aenqueue("a", id="x")
        assert failed.value.unsure == ("x",) and losing.commands == 1
        await client.aenqueue("b")
    assert redis_client.llen("async_tasks") == 2


def test_of_many_tasks_it_is_told_which_are_pushed_and_which_may_be(losing, redis_client):
    with Queue(f"redis://127.0.0.1:{losing.port}/0") as client:
        losing.losses = 0
        client.enqueue("first")
        losing.losses = 1
        tasks = [{"type": "a", "id": n} for n in range(2500)]
        with pytest.raises(PushFailed, match=r"0 of 2,500 tasks were pushed; the next 1,000 may"):
            client.enqueue_many(tasks)
    assert redis_client.llen("async_tasks") == 1001


def test_an_unreachable_or_refusing_redis_has_taken_nothing(redis_url, redis_client):
    with (
        Queue(f"redis://127.0.0.1:{free_port()}/0") as nowhere,
        pytest.raises(PushFailed, match="the task was not pushed") as failed,
    ):
        nowhere.enqueue("a")
    assert failed.value.unsure == () and not failed.value.may_have_run
    redis_client.set("async_tasks", "text")
    with (
        Queue(redis_url) as client,
        pytest.raises(PushFailed, match=r"WRONGTYPE.*the task was not pushed") as failed,
    ):
        client.enqueue("a")
    assert failed.value.unsure == ()


def test_a_push_after_the_server_has_closed_the_idle_connection_succeeds(client, redis_client):
    client.enqueue("a")
    redis_client.client_kill_filter(_type="normal", skipme=True)
    client.enqueue("b")
    assert redis_client.llen("async_tasks") == 2


def test_a_closed_queue_connects_again(client, redis_client):
    client.enqueue("a")
    client.close()
    client.enqueue("b")
    assert redis_client.llen("async_tasks") == 2


@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_event_loops_that_have_ended_leave_no_connection_behind(redis_url, redis_client):
    queue = Queue(redis_url)
    for _ in range(5):
        asyncio.run(queue.aenqueue("note"))

    def connections():
        gc.collect()
        return sum(one["name"].startswith("taskrig-client") for one in redis_client.client_list())

    until(lambda: connections() <= 1)


def test_nothing_is_said_of_a_task_whose_list_is_none(redis_url, redis_client):
    redis_client.set("async_tasks", "text")
    settings = {"redis": {"url": redis_url}, "tasks": {"note": {"track": True}}}
    with Queue(settings=settings) as queue, pytest.raises(PushFailed):
        queue.enqueue("note", id="a")
    assert redis_client.keys() == [b"async_tasks"]
