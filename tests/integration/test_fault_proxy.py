"""The wire of the fault tests does what it says."""

from __future__ import annotations

import time

import pytest
import redis

from taskrig_loadgen.chaos.fault_proxy import FaultProxy
from tests.support.waiting import until


@pytest.fixture
def wired(server):
    own = server()
    wire = FaultProxy("127.0.0.1", own.port).start()
    client = redis.Redis(port=wire.port, socket_timeout=0.3, retry=None)
    yield wire, client, own
    client.close()
    wire.close()


def test_a_whole_wire_carries_both_ways(wired):
    _, client, _ = wired
    client.set("a", b"x" * 1_000_000)
    assert client.strlen("a") == 1_000_000


def test_a_cut_wire_refuses_until_it_is_mended(wired):
    wire, client, _ = wired
    client.ping()
    wire.cut()
    with pytest.raises(redis.exceptions.ConnectionError):
        client.ping()
    wire.mend()
    assert client.ping()


def test_a_silent_wire_answers_nothing_and_recovers(wired):
    wire, client, _ = wired
    client.ping()
    wire.blackhole()
    with pytest.raises(redis.exceptions.TimeoutError):
        client.ping()
    wire.mend()
    assert until(client.ping)


def test_a_slow_wire_delays_each_way(wired):
    wire, client, _ = wired
    client.ping()
    wire.slow(0.05)
    began = time.monotonic()
    client.ping()
    assert time.monotonic() - began >= 0.1


def test_an_eaten_reply_belongs_to_a_command_that_was_done(wired):
    wire, client, _ = wired
    wire.eat_reply(b"INCR")
    with pytest.raises(redis.exceptions.ConnectionError):
        client.incr("n")
    assert wire.eaten == 1
    assert client.get("n") == b"1"
    assert client.incr("n") == 2
