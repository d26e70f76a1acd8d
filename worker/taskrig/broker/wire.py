"""One connection, one call at a time: no retries, an explicit deadline, clear errors."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from taskrig.broker.address import Address
from taskrig.broker.resp import Encoded, encode_command
from taskrig.broker.scripts import Script
from taskrig.broker.stream import Stream, TooLarge
from taskrig.errors import BrokerUnavailable
from taskrig.runtime import forked

TICKS = 20  # into which a timeout is cut: one in which a handler held the event loop counts as one
LAST_LOOK_S = 0.02  # after them, for an answer that is here and was not read yet


class Wire:
    """An async connection that only its owner uses.

    A call that got no answer in time, or was cut, raises BrokerUnavailable and leaves the wire
    closed; nothing is ever sent twice. The next call connects anew. An answer that has come is
    a success, however late the event loop gets to it: while a handler holds the loop, the time
    of a call stands still. Whoever must not wait calls `cut`.
    """

    def __init__(self, address: Address, timeout_s: float, *, identify: bool = False) -> None:
        """With `identify`, asks the server for `client_id` after each connect."""
        self._address = address
        self._timeout_s = timeout_s
        self._tick_s = timeout_s / TICKS
        self._identify = identify
        self.client_id: int | None = None  # None too where the server does not tell
        self._stream: Stream | None = None
        self._connecting: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._left: int | None = None  # ticks of the call that is open
        self._received = 0  # by the stream at the last tick
        self._timed_out = False
        self.sent = False  # whether the last call reached the socket: it may have been executed
        self._abandoned = ""  # why nobody waits for it any more

    async def connect(self) -> None:
        """Connect if there is no connection; raises BrokerUnavailable."""
        if self._stream is not None and self._stream.fault is None:
            return
        self.sent = False
        await self.close()
        if self._abandoned:
            raise self._address.explain(TimeoutError(self._abandoned))
        connection = None
        self._await_within(TICKS)
        try:
            async with asyncio.timeout(None) as self._connecting:
                connection, id = await self._address.connect(identify=self._identify)
                self._stream = Stream(connection)
        except Exception as fault:
            if connection is not None:
                await _hang_up(connection)
            late = self._abandoned or f"no connection within {self._timeout_s:g} s"
            cut = self._abandoned or self._timed_out
            raise self._address.explain(TimeoutError(late) if cut else fault) from fault
        finally:
            self._connecting = self._left = None
        self.client_id = id

    async def call(self, *command: Any, extra_s: float = 0.0, most: int | None = None) -> Any:
        """Send one command and read its answer.

        Args:
            extra_s: how long the server may hold it.
            most: bytes of an item that is read, where the answer is one.

        Raises:
            TooLarge: the answer is a larger item; the wire is closed.
            BrokerUnavailable: no answer, or an error for one; `sent` says if it left this host.
        """
        (answer,) = await self._ask(encode_command(command), 1, extra_s, most)
        if isinstance(answer, NoScriptError):
            raise answer
        if isinstance(answer, Exception):
            raise await self._explained(answer) from answer
        return answer

    async def call_both(
        self, first: tuple[Any, ...], second: tuple[Any, ...], *, extra_s: float, most: int | None
    ) -> tuple[Any, Any]:
        """Send two commands in one write and read both answers; the server runs the second as
        soon as the first has ended. An error for an answer is returned in its place, as the
        BrokerUnavailable it means, or NoScriptError.

        Raises:
            TooLarge: the first answer is an item of more than `most` bytes; the wire is closed.
            BrokerUnavailable: not both answers came; each may or may not have been executed.
        """
        data = encode_command(first) + encode_command(second)
        answers = await self._ask(data, 2, extra_s, most)
        for n, answer in enumerate(answers):
            if isinstance(answer, Exception) and not isinstance(answer, NoScriptError):
                answers[n] = await self._explained(answer)
                if not isinstance(answer, ResponseError):
                    raise answers[n] from answer
        return answers[0], answers[1]

    async def _ask(self, data: bytes, expected: int, extra_s: float, most: int | None) -> list[Any]:
        await self.connect()
        assert self._stream is not None
        self.sent = True
        self._await_within(TICKS + math.ceil(extra_s / self._tick_s))
        try:
            return await self._stream.ask(data, expected, most)
        except TooLarge:
            raise
        except Exception as fault:
            late = self._abandoned or f"no answer within {self._timeout_s + extra_s:g} s"
            cut = self._abandoned or self._timed_out
            raise await self._explained(TimeoutError(late) if cut else fault) from fault
        finally:
            self._left = None

    async def _explained(self, fault: Exception) -> BrokerUnavailable:
        """The fault in one line; where the address may lead elsewhere next time, hang up."""
        error = self._address.explain(fault)
        if error.kind not in ("wrong_type", "script", "no_script"):
            await self.close()  # READONLY, LOADING and the like
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

    def _await_within(self, ticks: int) -> None:
        self._timed_out = False
        self._left = ticks + 1  # the timer of the call before may be half through its tick
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        """Cut a call that is overdue. One timer serves many calls.

        Ticks are counted, not seconds: each leaves the event loop a turn in which it reads. A last
        look follows, and more of them while an answer is on its way.
        """
        self._timer = None
        if self._left is None:
            return
        received = self._stream.received if self._stream is not None else 0
        arriving, self._received = received != self._received, received
        self._left -= 1
        if self._left < 0 and not (arriving and self._left > -TICKS):
            self._timed_out = True
            self.cut()
            return
        pause_s = self._tick_s if self._left > 0 else min(LAST_LOOK_S, self._tick_s)
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._tick)

    def cut(self) -> None:
        """Drop the connection at once; a call under way ends with BrokerUnavailable."""
        if self._connecting is not None:
            self._connecting.reschedule(asyncio.get_running_loop().time())
        elif self._stream is not None:
            self._stream.lose(ConnectionAbortedError("the connection was cut"))

    def abandon(self, why: str) -> None:
        """Nobody waits for it any more: cut it, and let every later call fail at once."""
        self._abandoned = why
        self.cut()

    async def close(self) -> None:
        """Close the connection; never raises."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()


async def _hang_up(connection: Any) -> None:
    try:
        await connection.disconnect(nowait=True)
    except Exception:  # it is gone already
        pass


class ThreadWire:
    """The same for threads: a blocking connection that they share, one call at a time."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._connection: Any = None
        forked.own(self)

    def descriptors(self) -> Iterator[int]:
        """What is kept from children."""
        sock = getattr(self._connection, "_sock", None)
        if sock is not None:
            yield sock.fileno()

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
                connection = self._connected()
                connection.send_command(*command)
                return connection.read_response(disable_decoding=True)
            except NoScriptError:
                raise
            except BaseException as fault:
                self.close()  # also where a signal or a greenlet's end comes: it is out of step
                if not isinstance(fault, Exception):
                    raise
                raise self._address.explain(fault) from fault

    def _connected(self) -> Any:
        """A connection; one that was closed while it was idle is made anew before it is used."""
        if self._connection is not None and _is_over(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._address.connect_sync(self._timeout_s)
        return self._connection

    def close(self) -> None:
        """Close the connection; never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.disconnect()
            except Exception:
                pass


def _is_over(connection: Any) -> bool:
    """Whether an idle connection was closed at the other end, or holds what nobody asked for."""
    try:
        return bool(connection.can_read(timeout=0))
    except Exception:
        return True
