"""The worker under a service manager, seen from the manager's socket."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.world import World


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_says_once_when_it_is_ready_then_that_it_lives_and_that_it_stops(
    world: World, tmp_path: Path, processes: int
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        env = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "600000"}
        worker = world.start_worker(env=env, worker={"processes": processes})

        assert manager.recv(100) == b"READY=1"
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3

        worker.terminate()
        said = b"WATCHDOG=1"
        while said == b"WATCHDOG=1":
            said = manager.recv(100)
        assert said == b"STOPPING=1"
        worker.ends_well()
