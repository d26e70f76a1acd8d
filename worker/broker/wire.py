"""One connection, one call at a time: no retries, an explicit deadline, clear errors."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from redis.exceptions import NoScriptError

from worker.broker.address import FAULTS, Address
from worker.broker.resp import Encoded, encode_command
from worker.broker.scripts import Script


class Wire:
    """An async connection that only its owner uses.

    A call that got no answer in time, or was cut, raises BrokerUnavailable and leaves the wire
    closed; nothing is ever sent twice. The next call connects anew. Its reads are never
    cancelled (a cancelled read would leave the connection out of step): whoever must not wait
    calls `cut`.
    """

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._connection: Any = None
        self._overdue: asyncio.TimerHandle | None = None
        self._due = float("inf")
        self._timed_out = False
        self.sent = False  # whether the last call reached the socket: it may have been executed

    async def connect(self) -> None:
        """Connect if there is no connection; raises BrokerUnavailable."""
        if self._connection is not None and self._connection.is_connected:
            return
        self.sent = False
        await self.close()
        connection = None
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._address.open()
                await connection.connect()
        except FAULTS as fault:
            if connection is not None:
                await connection.disconnect(nowait=True)
            raise self._address.explain(fault) from fault
        self._connection = connection

    async def call(self, *command: Any, extra_s: float = 0.0) -> Any:
        """Send one command and read its answer; `extra_s` is how long the server may hold it.

        Raises:
            BrokerUnavailable: no answer, or an error for one; `sent` says if it left this host.
        """
        await self.connect()
        connection = self._connection
        loop = asyncio.get_running_loop()
        self._timed_out = False
        self._due = loop.time() + self._timeout_s + extra_s
        if self._overdue is None:
            self._overdue = loop.call_at(self._due, self._watch)
        try:
            self.sent = True
            await connection.send_packed_command(encode_command(command), False)
            return await connection.read_response(disable_decoding=True)
        except NoScriptError:
            raise
        except FAULTS as fault:
            overdue = TimeoutError(f"no answer within {self._timeout_s + extra_s:g} s")
            error = self._address.explain(overdue if self._timed_out else fault)
            if error.kind != "wrong_type" and error.kind != "script":
                # READONLY, LOADING and the like: the address may lead elsewhere next time.
                await connection.disconnect(nowait=True)
            raise error from fault
        finally:
            self._due = float("inf")

    async def run(self, script: Script, keys: tuple[str, ...], *args: Any) -> Any:
        """Run a script by its hash; a server that does not know it is taught first."""
        return await self.run_encoded(script, Encoded.of(len(keys), *keys), *args)

    async def run_encoded(self, script: Script, keys: Encoded, *args: Any) -> Any:
        """As `run`; `keys` holds their number, the keys, and what else stands before `args`."""
        try:
            return await self.call(b"EVALSHA", script.sha, keys, *args)
        except NoScriptError:
            return await self.call(b"EVAL", script.text, keys, *args)

    def _watch(self) -> None:
        """Cut a call that is overdue. One timer serves many calls."""
        self._overdue = None
        if self._due == float("inf"):
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._due:
            self._timed_out = True
            self.cut()
        else:
            self._overdue = loop.call_at(self._due, self._watch)

    def cut(self) -> None:
        """Drop the connection at once; a call under way ends with BrokerUnavailable."""
        writer = getattr(self._connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def close(self) -> None:
        """Close the connection; never raises for a connection that is already gone."""
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.disconnect(nowait=True)
            except FAULTS:
                pass


class ThreadWire:
    """The same for threads: a blocking connection that they share, one call at a time."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._connection: Any = None

    def run(self, script: Script, keys: tuple[str, ...], *args: Any) -> Any:
        """Run a script; raises BrokerUnavailable, after which the next call connects anew."""
        try:
            return self.call(b"EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return self.call(b"EVAL", script.text, len(keys), *keys, *args)

    def call(self, *command: Any) -> Any:
        """Send one command and read its answer; raises BrokerUnavailable, as `run` does."""
        with self._turn:
            try:
                if self._connection is None:
                    self._connection = self._address.open_sync(self._timeout_s)
                    self._connection.connect()
                self._connection.send_command(*command)
                return self._connection.read_response(disable_decoding=True)
            except NoScriptError:
                raise
            except FAULTS as fault:
                self.close()
                raise self._address.explain(fault) from fault

    def close(self) -> None:
        """Close the connection; never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.disconnect()
            except FAULTS:
                pass
