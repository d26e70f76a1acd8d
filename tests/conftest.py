"""Fixtures that every test may use: a real Redis, and servers of a test's own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis

from tests.support import redis_for_tests
from tests.support.servers import RedisServer
from tests.support.world import World


def pytest_configure() -> None:
    """Let Ctrl-C and SIGHUP reach what the tests start: a shell's background job, as `make test &`
    in a script, or nohup, begins with one ignored. Ask this machine without a proxy."""
    for name in ("no_proxy", "NO_PROXY"):
        others = os.environ.get(name, "")
        os.environ[name] = ",".join(filter(None, [others, "localhost,127.0.0.1,::1"]))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
    hypothesis.settings.register_profile("any machine", deadline=None)
    hypothesis.settings.load_profile("any machine")


def pytest_report_header() -> str:
    """Say on the run's first lines which Redis it uses."""
    return f"redis: {redis_for_tests.choose().said}"


IN_TURN = ("deploy", "browser")  # folders whose tests share ports or one Compose project


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several test processes, let one have each folder whose tests cannot run side by side.

    A scheduler of our own, since pytest 9 keeps xdist's groups out of the test ids.
    """
    from xdist.scheduler import LoadScopeScheduling

    class InTurn(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            folder = nodeid.split("/")[1]
            return folder if folder in IN_TURN else nodeid

    return InTurn(config, log)


def _xdist_index() -> int:
    name = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return int(name.removeprefix("gw"))


@pytest.fixture
def soak_count() -> Callable[..., int]:
    """`soak_count(8, of=200)`: 8 as a rule, 200 when `make soak` asks for the full counts."""
    full = bool(os.environ.get("TEST_SOAK"))
    return lambda few, of: of if full else few


@pytest.fixture(scope="session")
def session_redis_url() -> Iterator[str]:
    """The URL of the session's server; started when the first test asks for it."""
    with redis_for_tests.started(_xdist_index()) as url:
        yield url


@pytest.fixture
def redis_url(session_redis_url: str) -> str:
    """The URL of an empty database, flushed for this test."""
    with redis.Redis.from_url(session_redis_url) as client:
        client.flushdb()
    return session_redis_url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A synchronous client of this test's database; replies are bytes."""
    with redis.Redis.from_url(redis_url, decode_responses=False) as client:
        yield client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Make servers of this test's own, started: `server()`, `server(password=...)`.

    Takes the arguments of RedisServer but the folder; all are ended when the test is over.
    """
    made: list[RedisServer] = []

    def start(**options: object) -> RedisServer:
        one = RedisServer(tmp_path / f"redis-{len(made)}", **options)  # type: ignore[arg-type]
        made.append(one)
        return one.start()

    yield start
    for one in made:
        one.close()


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> Iterator[World]:
    """A queue on the session's Redis, with workers as real processes."""
    one = World(redis_url, tmp_path)
    yield one
    one.close()


@pytest.fixture
def world_on(tmp_path: Path) -> Iterator[Callable[[str], World]]:
    """Make a world on a server of the test's own: `world_on(server().url)`."""
    made: list[World] = []

    def on(url: str) -> World:
        made.append(World(url, tmp_path))
        return made[-1]

    yield on
    for one in made:
        one.close()
