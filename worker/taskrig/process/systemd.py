"""Tell a service manager that the worker is ready, alive, stopping. Where there is none, nothing.

Source: sd_notify(3): datagrams of `NAME=value` to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

Probe = Callable[[], tuple[bool, str]]

log = logging.getLogger("taskrig.process.systemd")


def without_manager(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for children: only the parent speaks to the manager."""
    mine = {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
    return {name: value for name, value in environment.items() if name not in mine}


class Systemd:
    """Says what happens to the manager that started this process, if it wants to hear.

    The watchdog is fed from the event loop, so that a loop that is stuck for longer than
    `WatchdogSec` ends the process, and the manager starts a new one.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        self._address = given.get("NOTIFY_SOCKET", "")
        ours = given.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        micros = given.get("WATCHDOG_USEC", "")
        self._due_at = 0.0
        self.watchdog_s = int(micros) / 1e6 if ours and micros.isdecimal() else 0.0

    def ready(self) -> None:
        """The worker takes tasks from now on."""
        self._say("READY=1")

    def stopping(self) -> None:
        """The worker drains."""
        self._say("STOPPING=1")

    def feed(self, alive: Probe) -> None:
        """Feed the watchdog if that is due and `alive` says so; cheap to call often."""
        now = time.monotonic()
        if not self._address or self.watchdog_s <= 0 or now < self._due_at:
            return
        self._due_at = now + self.watchdog_s / 4
        good, why = alive()
        if good:
            self._say("WATCHDOG=1")
        else:
            log.error("the watchdog is not fed: %s", why)

    def feed_from_loop(self, alive: Probe) -> None:
        """Feed from the running event loop from now on: a loop that is stuck feeds nothing."""
        if self._address and self.watchdog_s > 0:
            self.feed(alive)
            pause_s = self.watchdog_s / 3  # two late feeds are forgiven
            asyncio.get_running_loop().call_later(pause_s, self.feed_from_loop, alive)

    def _say(self, message: str) -> None:
        if not self._address:
            return
        # An abstract socket is written with @ and has a zero byte in its place.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)  # a full buffer must not stop the worker
            out.connect(address)
            out.send(message.encode())
