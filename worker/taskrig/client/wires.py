"""The client's connections: of threads, and of each event loop. Nothing is sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, TypeVar

from taskrig.broker import Address, Connection, ThreadConnection
from taskrig.broker.commands import Command, command
from taskrig.broker.steps import Held, Once, Pause, Step, Steps, drive, drive_async
from taskrig.config.sections import Config
from taskrig.errors import BrokerUnavailable

T = TypeVar("T")

_SURE_FOR_S = 1.0  # a connection that was quiet for longer may have been closed at the other end
MOST_HELD = 100  # connections that wait: of the threads, and of each event loop
_KEPT = 10  # connections for waiting that are kept for the next wait
_PING: Command[Any] = command("PING")


def _busy() -> BrokerUnavailable:
    error = BrokerUnavailable(f"{MOST_HELD} results are waited for here already")
    error.kind = "busy"
    return error


class Wires:
    """All connections of one queue in one process."""

    def __init__(self, config: Config) -> None:
        """Raises UsageError when the queue cannot be served in this Cluster."""
        self.pid = os.getpid()
        self._timeout_s = config.redis.socket_timeout_s
        self._address = Address(config.redis, config.queue.key, "taskrig-client")
        self._of_threads = _OfThreads(self._address, self._timeout_s)
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop]
        self._of_loops = weakref.WeakKeyDictionary()

    def run(self, steps: Steps[T]) -> T:
        """Take the steps in this thread; raises what they raise."""
        return drive(steps, self._of_threads.ask)

    async def run_async(self, steps: Steps[T]) -> T:
        """Take them in this event loop."""
        loop = asyncio.get_running_loop()
        wires = self._of_loops.get(loop)
        if wires is None:
            for ended in [one for one in self._of_loops if one.is_closed()]:
                del self._of_loops[ended]  # its connections hold it: it would never be collected
            wires = self._of_loops[loop] = _OfLoop(self._address, self._timeout_s)
        return await drive_async(steps, wires.ask)

    def close(self) -> None:
        """Close the connections of threads; never raises."""
        self._of_threads.close()

    async def aclose(self) -> None:
        """Close those too, and the ones of this event loop; never raises."""
        self.close()
        wires = self._of_loops.pop(asyncio.get_running_loop(), None)
        if wires is not None:
            await wires.close()


class _OfThreads:
    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address, self._timeout_s = address, timeout_s
        self._shared = ThreadConnection(address, timeout_s)
        self._counting = threading.Lock()
        self._spare: list[ThreadConnection] = []
        self._held = 0
        self._used_at = 0.0

    def ask(self, step: Step) -> Any:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        if isinstance(step, Held):
            with self._own() as connection:
                return connection.run(step.command)
        if isinstance(step, Once):
            if time.monotonic() - self._used_at > _SURE_FOR_S:
                with contextlib.suppress(BrokerUnavailable):  # then the command connects again
                    self._shared.run(_PING)
            step = step.command
        answer = self._shared.run(step)
        self._used_at = time.monotonic()
        return answer

    @contextlib.contextmanager
    def _own(self) -> Iterator[ThreadConnection]:
        with self._counting:
            if self._held >= MOST_HELD:
                raise _busy()
            self._held += 1
            spare = self._spare.pop() if self._spare else None
        connection = spare or ThreadConnection(self._address, self._timeout_s)
        try:
            yield connection
        finally:
            with self._counting:
                self._held -= 1
            if len(self._spare) < _KEPT:
                self._spare.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        self._shared.close()
        while self._spare:
            with contextlib.suppress(IndexError):  # another thread took it
                self._spare.pop().close()


class _OfLoop:
    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address, self._timeout_s = address, timeout_s
        self._shared = Connection(address, timeout_s)
        self._turn = asyncio.Lock()
        self._spare: list[Connection] = []
        self._held = 0
        self._used_at = 0.0

    async def ask(self, step: Step) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Held):
            return await self._ask_alone(step)
        async with self._turn:
            if isinstance(step, Once):
                if time.monotonic() - self._used_at > _SURE_FOR_S:
                    with contextlib.suppress(BrokerUnavailable):  # then the command connects again
                        await self._shared.run(_PING)
                step = step.command
            answer = await self._shared.run(step)
            self._used_at = time.monotonic()
            return answer

    async def _ask_alone(self, step: Held) -> Any:
        if self._held >= MOST_HELD:
            raise _busy()
        self._held += 1
        spare = self._spare.pop() if self._spare else None
        connection = spare or Connection(self._address, self._timeout_s)
        try:
            return await connection.run(step.command)
        finally:
            self._held -= 1
            if len(self._spare) < _KEPT:
                self._spare.append(connection)
            else:
                await connection.close()

    async def close(self) -> None:
        for connection in (self._shared, *self._spare):
            await connection.close()
        self._spare.clear()
