"""What the connections to Redis make of a reset, a cut, a silence, and of answers read late."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from urllib.parse import urlsplit, urlunsplit

import pytest
import uvloop

from taskrig.broker import Address, LeaseConnection
from taskrig.broker.commands import command
from taskrig.broker.connection import Connection
from taskrig.broker.scripts import EXCHANGE
from taskrig.broker.thread_connection import ThreadConnection
from taskrig.config.load import load_config
from taskrig.engine.lease import Lease
from taskrig.errors import BrokerUnavailable
from taskrig_loadgen.chaos.fault_proxy import FaultProxy
from tests.support.waiting import until, until_async

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(request):
    """Runs a coroutine on each of the two event loops."""

    def in_loop(main):
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(main)

    return in_loop


@pytest.fixture
def between(redis_url):
    """A wire to the session's server that the test can break, and the URL by it."""
    parts = urlsplit(redis_url)
    wire = FaultProxy(parts.hostname, parts.port).start()
    wire.url = urlunsplit(parts._replace(netloc=f"127.0.0.1:{wire.port}"))
    yield wire
    wire.close()


def address(url, **settings):
    config = load_config(None, env={}, overrides={"redis.url": url, **settings})
    return Address(config.redis, config.queue.key, "tests")


@contextlib.contextmanager
def peer(*answers: bytes, then_close: bool = False):
    """A listener that greets like a server and gives these bytes for each PING."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client):
        left = list(answers)
        with client, contextlib.suppress(OSError):
            while left and (asked := client.recv(65536)):
                client.sendall(b"+OK\r\n" * asked.count(b"CLIENT"))
                if b"PING" in asked:
                    client.sendall(left.pop(0))
            if not then_close:
                client.recv(65536)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    finally:
        listener.close()


async def failed(call) -> BrokerUnavailable:
    with pytest.raises(BrokerUnavailable) as caught:
        await call
    return caught.value


def test_a_connection_that_was_reset_while_idle_is_replaced_before_it_is_used(between, run):
    async def main():
        wire = Connection(address(between.url), 5.0)
        for _ in range(3):
            assert await wire.run(command("PING")) == b"PONG"
            between.reset()
            await asyncio.sleep(0.05)  # the loop gets to know
        await wire.close()

    run(main())


def test_a_reset_under_a_call_is_an_outage_and_the_next_call_connects_again(between, run):
    async def main():
        wire = Connection(address(between.url), 5.0)
        await wire.run(command("PING"))
        waiting = asyncio.ensure_future(wire.run(command("BLPOP", "nothing", 3), extra_s=3))
        await asyncio.sleep(0.05)
        assert await asyncio.to_thread(between.reset) == 1
        error = await failed(waiting)
        assert (error.kind, wire.sent) == ("connection", True)
        assert await wire.run(command("PING")) == b"PONG"
        await wire.close()

    run(main())


def test_a_reset_that_the_loop_has_not_heard_of_is_an_outage_too(between, run):
    async def main():
        wire = Connection(address(between.url), 5.0)
        for _ in range(5):
            await wire.run(command("PING"))
            between.reset()
            time.sleep(0.05)  # noqa: ASYNC251 - so that the reset and the call meet
            with contextlib.suppress(BrokerUnavailable):
                await wire.run(command("PING"))
        assert await wire.run(command("PING")) == b"PONG"
        await wire.close()

    run(main())


def test_an_answer_that_came_while_the_loop_was_held_is_a_success(between, run):
    async def main():
        wire = Connection(address(between.url), 0.1)
        await wire.run(command("SET", "large", "x" * 3_000_000))
        for _ in range(3):
            call = asyncio.ensure_future(wire.run(command("GET", "large")))
            await asyncio.sleep(0)
            time.sleep(0.4)  # noqa: ASYNC251 - a handler that holds the loop
            assert len(await call) == 3_000_000
        await wire.close()

    run(main())


def test_a_connection_is_made_although_the_loop_is_held_again_and_again(between, run):
    async def main():
        async def hold():
            while True:
                time.sleep(0.25)  # noqa: ASYNC251
                await asyncio.sleep(0.001)

        holding = asyncio.ensure_future(hold())
        wire = Connection(address(between.url), 0.2)
        assert await wire.run(command("PING")) == b"PONG"
        holding.cancel()
        await wire.close()

    run(main())


def test_a_server_that_is_silent_is_given_up_in_time(between, run):
    async def main():
        wire = Connection(address(between.url), 0.3)
        await wire.run(command("PING"))
        between.blackhole()
        began = time.monotonic()
        error = await failed(wire.run(command("PING")))
        assert error.kind == "timeout"
        assert "no answer within 0.3 s" in str(error)
        began, waited_s = time.monotonic(), time.monotonic() - began
        error = await failed(wire.run(command("PING")))  # accepted, and never greeted
        assert "no connection within 0.3 s" in str(error)
        assert min(waited_s, time.monotonic() - began) >= 0.3
        await wire.close()

    run(main())


def test_an_answer_before_the_other_end_hangs_up_is_a_success(run):
    async def main(url):
        wire = Connection(address(url), 5.0)
        for _ in range(3):
            assert await wire.run(command("PING")) == b"PONG"
            await asyncio.sleep(0.05)
        await wire.close()

    with peer(b"+PONG\r\n", then_close=True) as url:
        run(main(url))


@pytest.mark.parametrize(
    "answer",
    [b"", b"$100\r\nhalf", b"?what\r\n", b"*2\r\n$-1\r\n"],
    ids=["nothing", "half an answer", "no RESP", "half an array"],
)
def test_whatever_a_connection_ends_with_is_an_outage(run, answer):
    async def main(url):
        wire = Connection(address(url), 5.0)
        for _ in range(2):
            assert (await failed(wire.run(command("PING")))).kind in ("connection", "other")
        await wire.close()

    with peer(answer, then_close=True) as url:
        run(main(url))


def test_bytes_that_nobody_asked_for_are_not_taken_for_an_answer(run):
    async def main(url):
        wire = Connection(address(url), 5.0)
        assert await wire.run(command("PING")) == b"PONG"
        await asyncio.sleep(0.05)
        assert await wire.run(command("PING")) == b"PONG"
        await wire.close()

    with peer(b"+PONG\r\n+stray\r\n", b"+stray\r\n") as url:
        run(main(url))


def test_a_call_that_is_cancelled_leaves_no_connection_out_of_step(between, run):
    async def main():
        wire = Connection(address(between.url), 5.0)
        await wire.run(command("PING"))
        waiting = asyncio.ensure_future(wire.run(command("BLPOP", "nothing", 1), extra_s=1))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await wire.run(command("ECHO", "mine")) == b"mine"
        await wire.close()

    run(main())


def test_a_connection_that_ends_while_it_tells_its_name_is_no_refusal_of_names(between, run):
    async def main():
        between.eat_reply(b"SETNAME")
        wire = Connection(address(between.url), 5.0)
        assert await wire.run(command("CLIENT", "GETNAME")) == b"tests"
        await wire.close()

    run(main())
    assert between.eaten == 1


# -- the same for threads


@pytest.fixture
def thread_wire(between):
    wire = ThreadConnection(address(between.url), 2.0)
    wire.run(command("PING"))
    yield wire
    wire.close()


@pytest.mark.parametrize("end", ["reset", "drop"])
def test_a_thread_replaces_a_connection_that_ended_while_idle(between, thread_wire, end):
    for _ in range(3):
        getattr(between, end)()
        time.sleep(0.05)  # until the end is here
        assert thread_wire.run(command("PING")) == b"PONG"


def test_a_reset_under_a_threads_call_is_an_outage(between, thread_wire):
    threading.Timer(0.1, between.reset).start()
    with pytest.raises(BrokerUnavailable) as caught:
        thread_wire.run(command("BLPOP", "nothing", 2))
    assert caught.value.kind == "connection"
    assert thread_wire.run(command("PING")) == b"PONG"


def test_what_interrupts_a_threads_call_leaves_no_connection_out_of_step(between, thread_wire):
    class Interrupt(BaseException):
        pass

    connection = thread_wire._connection
    connection.read_response = lambda **_: (_ for _ in ()).throw(Interrupt)
    with pytest.raises(Interrupt):
        thread_wire.run(command("ECHO", "other"))
    assert thread_wire.run(command("ECHO", "mine")) == b"mine"


async def test_what_is_given_back_at_the_last_moment_is_so_once_although_a_reply_is_lost(
    queue, between
):
    queue.push(b"a", b"b")
    await queue.hand().claim(2)
    config = load_config(None, env={}, overrides={"redis.url": between.url})
    wire = LeaseConnection(config, "w1", Address(config.redis, config.queue.key, "w1"))
    between.eat_reply(EXCHANGE.sha)
    await asyncio.to_thread(wire.release, ["w1:2", "w1:1"])
    wire.close()
    assert between.eaten == 1
    assert queue.waiting() == [b"a", b"b"]
    queue.assert_conserved()


def test_the_wire_of_these_tests_does_reset(between):
    with socket.create_connection(("127.0.0.1", between.port)) as client:
        until(lambda: between.reset(), what="the wire has taken the connection")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


class SlowAtFirst:
    """A lease's connection by a wire that is slow until the clock was asked for twice."""

    def __init__(self, wire, connection):
        self.renew, self.close = connection.renew, connection.close
        self._wire, self._connection, self._asked = wire, connection, 0

    def probe(self):
        self._asked += 1
        if self._asked > 2:
            self._wire.slow(0)
        return self._connection.probe()


def test_a_slow_first_round_trip_does_not_shift_the_servers_clock(between, redis_url, monkeypatch):
    monkeypatch.setattr("taskrig.engine.lease.PROBES_S", 60)
    config = load_config(None, env={}, overrides={"redis.url": between.url})
    between.slow(0.1)
    by_wire = LeaseConnection(config, "w1", Address(config.redis, config.queue.key, "w1"))
    lease = Lease(SlowAtFirst(between, by_wire), 15, lambda: "{}")
    lease.start(lambda _: None)
    until(lambda: lease.clock.known, 20)
    lease.stop()
    assert lease.clock.error_s < 0.1  # that of a slow round trip is larger

    direct = LeaseConnection(config, "w2", address(redis_url))
    offset_s, round_trip_s = min((direct.probe() for _ in range(9)), key=lambda one: one[1])
    direct.close()
    assert abs(lease.clock.at(0.0) - offset_s) <= lease.clock.error_s + round_trip_s / 2 + 1e-5


def test_a_connection_of_a_thread_is_kept_from_children_while_it_is_made_too(between):
    between.blackhole()  # it is accepted, and greeted by nobody
    one = ThreadConnection(address(between.url), 60)
    asking = threading.Thread(target=ask_in_vain, args=(one,))
    asking.start()
    until(lambda: list(one.descriptors()))
    between.cut()
    asking.join(20)
    assert list(one.descriptors()) == []


async def test_a_connection_of_the_event_loop_is_kept_from_children_while_it_is_made_too(between):
    between.blackhole()
    one = Connection(address(between.url), 60)
    connecting = asyncio.create_task(one.connect())
    await until_async(lambda: list(one.descriptors()))
    between.cut()
    with pytest.raises(BrokerUnavailable):
        await connecting
    assert list(one.descriptors()) == []


def ask_in_vain(one):
    with contextlib.suppress(BrokerUnavailable):
        one.run(command("PING"))
