"""The tests' own ground: the server is real, empty at first, and an own one obeys."""

from __future__ import annotations

import pytest
import redis

from tests.support.waiting import until, until_async


def test_the_servers_database_is_empty_at_first(redis_client):
    assert redis_client.dbsize() == 0
    redis_client.lpush("left-over", "x")


def test_what_another_test_left_is_gone(redis_client):
    assert redis_client.dbsize() == 0


def test_a_server_of_ones_own_keeps_its_data_over_kill_and_start(server):
    own = server(password="secret of the test")
    with own.client() as client:
        client.lpush("queue", "a", "b")
    own.kill()
    assert not own.running
    own.start()
    with own.client() as client:
        assert client.llen("queue") == 2


def test_a_paused_server_does_not_answer_until_it_is_resumed(server):
    own = server()
    with own.client(socket_timeout=0.2, retry=None) as client:
        own.pause()
        with pytest.raises(redis.exceptions.TimeoutError):
            client.ping()
        own.resume()
    with own.client() as client:
        assert client.ping()


def test_waiting_in_vain_says_what_was_awaited():
    with pytest.raises(AssertionError, match=r"0.05 s: pigs fly \(seen last: False\)"):
        until(lambda: False, 0.05, "pigs fly")


async def test_an_async_wait_takes_a_coroutine_function():
    looks = []

    async def third_time() -> bool:
        looks.append(1)
        return len(looks) == 3

    assert await until_async(third_time)
