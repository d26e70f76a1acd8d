"""Without a Docker engine: a server and workers in the background, their state in `.run/`."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deploy.local import ports, processes, server
from deploy.local.processes import CannotStart, Process
from deploy.local.state import ROOT, RUN, Settings, State

READY_S = 20.0  # a worker waits 5 s for Redis by itself
DRAIN_S = 40.0  # more than the worker's drain_timeout (25 s)


def up(settings: Settings, state: State, say: Callable[[str], None]) -> None:
    """Start what does not run yet; restart workers whose settings differ.

    Raises:
        CannotStart: no server, a taken port, or a program that ended at once.
    """
    wanted = {f"worker-{n + 1}": settings.port + n for n in range(settings.workers)}
    _require_ports(wanted, state)
    _server(settings, state, say)
    state.asked = settings
    state.save()
    for process in _workers(state):
        if wanted.get(process.name) != process.port:
            _stop(process, state, say)
    for name, port in wanted.items():
        _worker(name, port, settings, state, say)


def down(state: State, say: Callable[[str], None]) -> None:
    """Stop exactly what was started, workers before their server. Data stays."""
    for process in sorted(state.processes, key=lambda p: p.name, reverse=True):
        _stop(process, state, say)


def addresses(state: State) -> list[str]:
    """A line for each HTTP address."""
    return [
        f"{p.name}: http://127.0.0.1:{p.port}/metrics"
        for p in state.processes
        if p.name != "redis" and p.alive()
    ]


def ps(state: State) -> list[str]:
    """One line for each process."""
    return [
        f"{p.name:<12} pid {p.pid:<8} port {p.port:<6} {'running' if p.alive() else 'not running'}"
        for p in state.processes
    ]


def logs(state: State) -> list[Path]:
    """The log files of what was started."""
    return [path for p in state.processes if (path := _log(p.name)).exists()]


def _workers(state: State) -> list[Process]:
    return [process for process in state.processes if process.name.startswith("worker-")]


def _require_ports(wanted: dict[str, int], state: State) -> None:
    """Before anything is stopped for its sake: no port may be another program's."""
    ours = {process.port for process in _workers(state) if process.alive()}
    for name, port in wanted.items():
        if port not in ours:
            ports.require_free(port, purpose=f"the metrics of {name}", variable="PORT")


def _server(settings: Settings, state: State, say: Callable[[str], None]) -> None:
    running = state.find("redis")
    if running:
        if running.port != settings.redis_port:
            raise CannotStart(
                f"Redis already runs on port {running.port}: "
                f"make down first, or leave REDIS_PORT out"
            )
        say(f"{state.server} runs already on 127.0.0.1:{running.port}")
        return
    ports.require_free(settings.redis_port, purpose="Redis", variable="REDIS_PORT")
    chosen = server.find()
    # A folder for each kind and version: one cannot read what another wrote.
    data = RUN / "data" / f"{chosen.kind}-{chosen.version[0]}"
    data.mkdir(parents=True, exist_ok=True)
    command = chosen.command(port=settings.redis_port, data=data)
    process = processes.start("redis", command, port=settings.redis_port, log=_log("redis"))
    state.how, state.redis_port, state.server = "native", settings.redis_port, str(chosen)
    state.keep(process)
    _until(lambda: _answers(settings.redis_port), process, "answer a PING")
    say(f"started {chosen} on 127.0.0.1:{settings.redis_port}, data in {os.path.relpath(data)}/")


def _worker(
    name: str, port: int, settings: Settings, state: State, say: Callable[[str], None]
) -> None:
    command = [sys.executable, "-m", "taskrig", "run", "--redis-url", state.redis_url]
    command += ["--set", f"http.port={port}"]
    if settings.max_concurrent is not None:
        command += ["--max-concurrent", str(settings.max_concurrent)]
    running = state.find(name)
    if running and running.command == command:
        say(f"{name} runs already (pid {running.pid}), http://127.0.0.1:{port}/metrics")
        return
    if running:
        say(f"{name}: its settings differ, it starts again")
        _stop(running, state, say)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = processes.start(name, command, port=port, log=_log(name), env=env)
    state.keep(process)
    _until(lambda: _ready(port), process, "be ready")
    say(f"started {name} (pid {process.pid}), http://127.0.0.1:{port}/metrics")


def _stop(process: Process, state: State, say: Callable[[str], None]) -> None:
    if process.alive():
        say(f"stopping {process.name} (pid {process.pid})")
        if not processes.stop(process, within_s=DRAIN_S):
            say(f"{process.name} did not end within {DRAIN_S:g} s and was killed")
    state.processes = [p for p in state.processes if p.name != process.name]
    state.save()


def _log(name: str) -> Path:
    return RUN / f"{name}.log"


def _until(condition: Callable[[], bool], process: Process, what: str) -> None:
    """Wait until `condition` holds; CannotStart with the log's end when it never does."""
    deadline = time.monotonic() + READY_S
    while not condition():
        ended = not process.alive()
        if ended or time.monotonic() > deadline:
            log = _log(process.name)
            end = "\n  ".join(log.read_text(errors="replace").splitlines()[-5:])
            why = "ended at once" if ended else f"did not {what} within {READY_S:g} s"
            raise CannotStart(f"{process.name} {why}; the end of {os.path.relpath(log)}:\n  {end}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    """Whether a server says PONG there (a TCP connection alone may be one that still loads)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def remove_data() -> None:
    """Delete everything in `.run/`."""
    shutil.rmtree(RUN, ignore_errors=True)
