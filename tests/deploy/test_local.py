"""Background processes, ports and servers of `make up` where there is no Docker engine."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import ports, processes, server
from deploy.local.__main__ import main
from deploy.local.processes import CannotStart, Process
from tests.support.waiting import until

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(60)",
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def _started(command: list[str], log: Path) -> Process:
    process = processes.start("sleeper", command, port=0, log=log)
    until(lambda: "up" in log.read_text(), what="the process to say that it is up")
    return process


def test_a_started_process_is_known_again_and_ends_when_asked(log: Path) -> None:
    process = _started(SLEEPER, log)

    assert process.alive()
    assert processes.stop(process, within_s=10.0) is True
    assert not process.alive()


def test_a_process_that_does_not_listen_is_killed_and_that_is_said(log: Path) -> None:
    process = _started(STUBBORN, log)

    assert processes.stop(process, within_s=0.2) is False
    assert not process.alive()


def test_a_pid_that_belongs_to_another_program_now_is_left_alone() -> None:
    ours = Process(name="redis", pid=os.getpid(), born="1", port=0, command=[])
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        assert not ours.alive()
        assert processes.stop(ours, within_s=1.0) is True
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == []


def test_a_program_that_is_not_there_is_named(log: Path) -> None:
    with pytest.raises(CannotStart, match=r"redis: cannot run /nowhere/redis: No such file"):
        processes.start("redis", ["/nowhere/redis"], port=0, log=log)


def test_a_taken_port_is_named_with_how_to_choose_another(taken_port: int) -> None:
    with pytest.raises(CannotStart, match=rf"port {taken_port} .*taken.*REDIS_PORT=\d+"):
        ports.require_free(taken_port, purpose="Redis", variable="REDIS_PORT")


def test_the_next_free_port_is_not_the_taken_one(taken_port: int) -> None:
    assert ports.next_free(taken_port) != taken_port


def _server_that_says(words: str, folder: Path, name: str = "redis-server") -> None:
    binary = folder / name
    binary.write_text(f"#!/bin/sh\necho '{words}'\n")
    binary.chmod(0o755)


def test_a_server_on_the_path_is_preferred_to_the_embedded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _server_that_says("Redis server v=7.2.4 sha=00000000:0 malloc=libc", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert str(server.find()) == "redis 7.2 (from the PATH)"


def test_a_server_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _server_that_says("Redis server v=6.0.16 sha=00000000:0 malloc=libc", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert server.find().where == "embedded"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["up", "--port", "70000"], "must be a port from 1 to 65535, got '70000'"),
        (["up", "--workers", "0"], "must be a whole number from 1 to 100, got '0'"),
        (["up", "--max-concurrent", "ten"], "must be a whole number from 1 to 100000, got 'ten'"),
        (
            ["up", "--profiles", "monitring"],
            "unknown 'monitring'; there are: plain, monitoring, prometheus",
        ),
    ],
)
def test_a_bad_variable_gets_one_line_and_exit_2(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err
