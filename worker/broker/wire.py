"""One connection, one call at a time: no retries, an explicit deadline, clear errors."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from worker.broker.address import FAULTS, Address
from worker.broker.resp import Encoded, encode_command
from worker.broker.scripts import Script
from worker.errors import BrokerUnavailable


class Wire:
    """An async connection that only its owner uses.

    A call that got no answer in time, or was cut, raises BrokerUnavailable and leaves the wire
    closed; nothing is ever sent twice. The next call connects anew. Its reads are never
    cancelled (a cancelled read would leave the connection out of step): whoever must not wait
    calls `cut`.
    """

    def __init__(self, address: Address, timeout_s: float, *, identify: bool = False) -> None:
        """With `identify`, asks the server for `client_id` after each connect."""
        self._address = address
        self._timeout_s = timeout_s
        self._identify = identify
        self.client_id: int | None = None  # None too where the server does not tell
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
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._address.connect(identify=self._identify)
        except FAULTS as fault:
            raise self._address.explain(fault) from fault
        self._connection, self.client_id = found

    async def call(self, *command: Any, extra_s: float = 0.0) -> Any:
        """Send one command and read its answer; `extra_s` is how long the server may hold it.

        Raises:
            BrokerUnavailable: no answer, or an error for one; `sent` says if it left this host.
        """
        await self.connect()
        connection = self._connection
        try:
            await self._send(encode_command(command), extra_s)
            return await connection.read_response(disable_decoding=True)
        except NoScriptError:
            raise
        except FAULTS as fault:
            raise await self._explained(fault, extra_s) from fault
        finally:
            self._due = float("inf")

    async def call_both(
        self, first: tuple[Any, ...], second: tuple[Any, ...], *, extra_s: float
    ) -> tuple[Any, Any]:
        """Send two commands in one write and read both answers; the server runs the second as
        soon as the first has ended. An error for an answer is returned in its place, as the
        BrokerUnavailable it means, or NoScriptError.

        Raises:
            BrokerUnavailable: not both answers came; each may or may not have been executed.
        """
        await self.connect()
        answers: list[Any] = []
        try:
            await self._send(encode_command(first) + encode_command(second), extra_s)
            while len(answers) < 2:
                try:
                    answers.append(await self._connection.read_response(disable_decoding=True))
                except ResponseError as refused:
                    answers.append(refused)
        except FAULTS as fault:
            raise await self._explained(fault, extra_s) from fault
        finally:
            self._due = float("inf")
        for n, answer in enumerate(answers):
            if isinstance(answer, ResponseError) and not isinstance(answer, NoScriptError):
                answers[n] = await self._explained(answer)
        return answers[0], answers[1]

    async def _send(self, data: bytes, extra_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._timed_out = False
        self._due = loop.time() + self._timeout_s + extra_s
        if self._overdue is None:
            self._overdue = loop.call_at(self._due, self._watch)
        self.sent = True
        await self._connection.send_packed_command(data, False)

    async def _explained(self, fault: BaseException, extra_s: float = 0.0) -> BrokerUnavailable:
        """The fault in one line; where the address may lead elsewhere next time, hang up."""
        overdue = TimeoutError(f"no answer within {self._timeout_s + extra_s:g} s")
        error = self._address.explain(overdue if self._timed_out else fault)
        if error.kind not in ("wrong_type", "script", "no_script"):
            # READONLY, LOADING and the like.
            await self._connection.disconnect(nowait=True)
        return error

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
                    self._connection = self._address.connect_sync(self._timeout_s)
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
