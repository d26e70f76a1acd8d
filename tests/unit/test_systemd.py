"""What a service manager is told, on a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrig.process.systemd import Systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def _told(manager: socket.socket, **more: str) -> Systemd:
    return Systemd({"NOTIFY_SOCKET": manager.getsockname(), **more})


async def test_a_ready_worker_feeds_the_watchdog_from_its_loop(manager: socket.socket) -> None:
    systemd = _told(manager, WATCHDOG_USEC="30000")
    systemd.ready()
    systemd.feed_from_loop(lambda: (True, "ok"))
    said = [await asyncio.to_thread(manager.recv, 100) for _ in range(4)]

    assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]


async def test_a_worker_that_is_not_alive_lets_the_watchdog_starve(manager: socket.socket) -> None:
    systemd = _told(manager, WATCHDOG_USEC="30000")
    systemd.ready()
    systemd.feed_from_loop(lambda: (False, "the lease thread died"))
    systemd.stopping()

    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100) == b"STOPPING=1"


def test_a_watchdog_meant_for_another_process_is_not_ours(manager: socket.socket) -> None:
    other = str(os.getpid() + 1)
    assert _told(manager, WATCHDOG_USEC="1000000", WATCHDOG_PID=other).watchdog_s == 0
    assert _told(manager, WATCHDOG_USEC="1000000").watchdog_s == 1


def test_without_a_manager_or_with_one_that_is_gone_nothing_happens(tmp_path: Path) -> None:
    Systemd({}).stopping()
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).stopping()
