"""`make up`, `load`, `demo` and `down` where there is no Docker engine, as a user runs them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import ports
from deploy.local.processes import Process

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def redis_port() -> int:
    return ports.next_free(27379)


@pytest.fixture
def http_port() -> int:
    return ports.next_free(28464)


@pytest.fixture
def local(tmp_path: Path, redis_port: int, http_port: int) -> Iterator[Run]:
    """Run a command of deploy.local with a state folder and ports of this test's own."""

    def run(command: str, *flags: str, plain: bool = False) -> subprocess.CompletedProcess[str]:
        asked = ["--how", "native", "--redis-port", str(redis_port), "--port", str(http_port)]
        if plain:
            asked = []
        return subprocess.run(
            [sys.executable, "-m", "deploy.local", command, *asked, *flags],
            cwd=ROOT,
            env={**os.environ, "RUN_DIR": str(tmp_path / "run")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    yield run
    run("down")


def _kept(folder: Path) -> list[Process]:
    kept = json.loads((folder / "run" / "state.json").read_text())
    return [Process(**process) for process in kept["processes"]]


def _pids(folder: Path) -> dict[str, int]:
    return {process.name: process.pid for process in _kept(folder)}


def _status(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        return int(answer.status)


def test_the_demo_starts_everything_and_gets_the_seven_tasks_done(
    local: Run, http_port: int
) -> None:
    done = local("demo", "--max-concurrent", "10")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 sent = 7 succeeded" in done.stdout
    assert f"http://127.0.0.1:{http_port}/metrics" in done.stdout
    assert "make down" in done.stdout
    assert _status(http_port) == 200


def test_up_again_changes_nothing(local: Run, tmp_path: Path) -> None:
    assert local("up").returncode == 0
    first = _pids(tmp_path)
    again = local("up")

    assert again.returncode == 0, again.stderr
    assert "runs already" in again.stdout
    assert _pids(tmp_path) == first


def test_up_with_more_workers_and_then_fewer_leaves_exactly_as_many(
    local: Run, tmp_path: Path, http_port: int
) -> None:
    assert local("up", "--workers", "2").returncode == 0
    assert _status(http_port + 1) == 200
    assert local("up", "--workers", "1").returncode == 0

    assert set(_pids(tmp_path)) == {"redis", "worker-1"}


def test_plain_up_keeps_what_was_asked_for_until_down(local: Run, tmp_path: Path) -> None:
    assert local("up", "--workers", "2", "--max-concurrent", "3").returncode == 0
    first = _pids(tmp_path)
    again = local("up", plain=True)

    assert again.returncode == 0, again.stderr
    assert _pids(tmp_path) == first
    assert len(first) == 3
    assert local("down").returncode == 0
    assert local("up").returncode == 0
    assert set(_pids(tmp_path)) == {"redis", "worker-1"}


def test_a_taken_port_stops_no_worker_that_runs(local: Run, tmp_path: Path) -> None:
    assert local("up").returncode == 0
    first = _pids(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        refused = local("up", "--port", str(other.getsockname()[1]))

    assert refused.returncode == 2
    assert "PORT=" in refused.stderr
    assert _pids(tmp_path) == first
    assert all(process.alive() for process in _kept(tmp_path))


def test_workers_move_to_ports_that_are_each_others(
    local: Run, tmp_path: Path, http_port: int
) -> None:
    assert local("up", "--workers", "2").returncode == 0
    moved = local("up", "--workers", "2", "--port", str(http_port + 1))

    assert moved.returncode == 0, moved.stderr
    assert _status(http_port + 1) == _status(http_port + 2) == 200


def test_down_stops_what_was_started_and_keeps_the_waiting_tasks(
    local: Run, tmp_path: Path, redis_port: int, http_port: int
) -> None:
    def push(words: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", redis_port), timeout=5) as connection:
            connection.sendall(words + b"\r\n")
            return connection.recv(100)

    assert local("up").returncode == 0
    assert push(b"LPUSH another_queue kept") == b":1\r\n"
    started = _kept(tmp_path)
    down = local("down")

    assert down.returncode == 0, down.stderr
    assert _pids(tmp_path) == {}
    assert len(started) == 2
    assert not any(process.alive() for process in started)
    assert ports.is_free(http_port)
    assert local("up").returncode == 0
    assert push(b"LLEN another_queue") == b":1\r\n"


def test_a_taken_port_is_named_with_how_to_choose_another_and_nothing_is_left_behind(
    local: Run, tmp_path: Path, redis_port: int
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", redis_port))
        other.listen()
        refused = local("up")

    assert refused.returncode == 2
    assert f"port {redis_port} (for Redis) is taken" in refused.stderr
    assert "REDIS_PORT=" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def _docker(folder: Path, monkeypatch: pytest.MonkeyPatch, up: str) -> None:
    """A docker command that says yes to everything, and to `compose up` what `up` says."""
    command = folder / "docker"
    command.write_text(f'#!/bin/sh\ncase "$*" in *" up "*) {up} ;; esac\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_where_an_engine_starts_nothing_that_is_said_and_native_is_not_refused(
    local: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_port: int, http_port: int
) -> None:
    _docker(tmp_path, monkeypatch, "echo 'the feature requires a newer engine'; exit 1")
    asked = ["--redis-port", str(redis_port), "--port", str(http_port), "--profiles", "plain"]
    refused = local("up", *asked, plain=True)

    assert refused.returncode == 2
    assert "the feature requires a newer engine" in refused.stderr
    assert "HOW=native" in refused.stderr
    assert local("up").returncode == 0


@pytest.mark.parametrize("variable", ["PROMETHEUS_PORT", "GRAFANA_PORT"])
def test_a_taken_port_of_the_monitoring_is_named_with_its_variable(
    local: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, http_port: int, variable: str
) -> None:
    _docker(tmp_path, monkeypatch, "exit 1")
    monitoring = {
        "PROMETHEUS_PORT": ports.next_free(http_port + 100),
        "GRAFANA_PORT": ports.next_free(http_port + 200),
    }
    asked = ["--redis-port", str(ports.next_free(27379)), "--port", str(http_port)]
    for name, port in monitoring.items():
        asked += [f"--{name.lower().replace('_', '-')}", str(port)]
    with socket.socket() as other:
        other.bind(("127.0.0.1", monitoring[variable]))
        other.listen()
        refused = local("up", *asked, plain=True)

    assert refused.returncode == 2
    assert f"{variable}=" in refused.stderr


def test_load_without_anything_running_says_what_to_do(local: Run) -> None:
    refused = local("load")

    assert refused.returncode == 2
    assert "make up first" in refused.stderr


def test_down_with_nothing_running_is_harmless(local: Run) -> None:
    done = local("down")

    assert done.returncode == 0
    assert "nothing of ours is running" in done.stdout
