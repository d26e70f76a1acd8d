"""One connection to Redis, one call at a time: no retries, an explicit deadline, clear errors.

Answers are read as they come, in the event loop's own callback. So an answer that has come is known
at once, whatever waits for the loop; a connection that was lost is known too, and never written to
again; and a too large item is seen by the header of its reply, before it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from typing import Any, TypeVar

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

from taskrig.broker.address import Address
from taskrig.broker.commands import Command
from taskrig.errors import BrokerUnavailable
from taskrig.runtime import forked

T = TypeVar("T")
S = TypeVar("S")

TICKS = 20  # into which a timeout is cut: one in which a handler held the event loop counts as one
LAST_LOOK_S = 0.02  # after them, for an answer that is here and was not read yet
_NOT_YET = object()
_HEAD_BYTES = 128  # of an item that is too large: its header and a little more


class TooLarge(Exception):
    """A reply is an item larger than allowed; it was not read. The connection is gone."""

    def __init__(self, size: int, start: bytes) -> None:
        """`size` in bytes; `start` is what had come of the item."""
        super().__init__(f"an item of {size} bytes")
        self.size = size
        self.start = start


class Connection:
    """A connection of the event loop that only its owner uses.

    A call that got no answer in time, or was cut, raises BrokerUnavailable and leaves it closed;
    nothing is ever sent twice. The next call connects again. An answer that has come is a success,
    however late the event loop gets to it: while a handler holds the loop, the time of a call
    stands still. Whoever must not wait calls `cut`.
    """

    def __init__(self, address: Address, timeout_s: float, *, identify: bool = False) -> None:
        """With `identify`, asks the server for `client_id` after each connect."""
        self._address = address
        self._timeout_s = timeout_s
        self._tick_s = timeout_s / TICKS
        self._identify = identify
        self.client_id: int | None = None  # None too where the server does not tell
        self._stream: _Stream | None = None
        self._connecting: asyncio.Timeout | None = None
        self._begun: Any = None  # a connection of redis-py while it is being made
        self._before: frozenset[int] = frozenset()  # sockets that were there when it was begun
        self._timer: asyncio.TimerHandle | None = None
        self._left: int | None = None  # ticks of the call that is open
        self._received = 0  # by the stream at the last tick
        self._timed_out = False
        self.sent = False  # whether the last call reached the socket: it may have been executed
        self._abandoned = ""  # why nobody waits for it any more
        forked.own(self)

    def descriptors(self) -> Iterator[int]:
        """What is kept from children while it is being made; then it is the stream's. Until its
        socket is known, that is each one opened since."""
        writer = getattr(self._begun, "_writer", None)
        if writer is not None:
            yield writer.get_extra_info("socket").fileno()
        elif self._begun is not None:
            yield from forked.sockets() - self._before

    def _begin(self, connection: Any) -> None:
        self._begun, self._before = connection, forked.sockets()

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
                connection, number = await self._address.connect(
                    self._begin, identify=self._identify
                )
                self._stream = _Stream(connection)
        except Exception as fault:
            if connection is not None:
                await _hang_up(connection)
            late = self._abandoned or f"no connection within {self._timeout_s:g} s"
            cut = self._abandoned or self._timed_out
            raise self._address.explain(TimeoutError(late) if cut else fault) from fault
        finally:
            self._connecting = self._left = self._begun = None
        self.client_id = number

    async def run(self, command: Command[T], *, extra_s: float = 0.0, most: int | None = None) -> T:
        """Send a command and read its answer. A server that does not know its script is taught.

        Args:
            extra_s: how long the server may hold it.
            most: bytes of an item that is read, where the answer is one.

        Raises:
            TooLarge: the answer is a larger item; the connection is closed.
            BrokerUnavailable: no answer, or an error for one; `sent` says if it left this host.
        """
        (answer,) = await self._ask(command.data, 1, extra_s, most)
        if isinstance(answer, NoScriptError) and command.script is not None:
            (answer,) = await self._ask(command.teaching().data, 1, extra_s, most)
        if isinstance(answer, Exception):
            raise await self._explained(answer) from answer
        return command.parse(answer)

    async def run_both(
        self, first: Command[T], second: Command[S], *, extra_s: float, most: int | None
    ) -> tuple[T | BrokerUnavailable, S | BrokerUnavailable | None]:
        """Send two commands in one write and read both answers; the server runs the second as
        soon as the first has ended. An error for an answer is returned in its place, as the
        BrokerUnavailable it means; None for the second where the server does not know its script.

        Raises:
            TooLarge: the first answer is an item of more than `most` bytes; it is closed.
            BrokerUnavailable: not both answers came; each may or may not have been executed.
        """
        answers = await self._ask(first.data + second.data, 2, extra_s, most)
        read: list[Any] = []
        parts: tuple[Command[Any], ...] = (first, second)
        for part, answer in zip(parts, answers, strict=True):
            if isinstance(answer, NoScriptError):
                read.append(None)
            elif isinstance(answer, Exception):
                read.append(await self._explained(answer))
                if not isinstance(answer, ResponseError):
                    raise read[-1] from answer
            else:
                read.append(part.parse(answer))
        return read[0], read[1]

    async def _ask(self, data: bytes, expected: int, extra_s: float, most: int | None) -> list[Any]:
        if self._stream is None or self._stream.fault is not None:
            await self.connect()
        assert self._stream is not None
        self.sent = True
        self._await_within(TICKS + math.ceil(extra_s / self._tick_s) if extra_s else TICKS)
        stream, waiting = self._stream, None
        try:
            waiting = stream.ask(data, expected, most)
            return await waiting
        except TooLarge:
            raise
        except Exception as fault:
            late = self._abandoned or f"no answer within {self._timeout_s + extra_s:g} s"
            cut = self._abandoned or self._timed_out
            error = await self._explained(TimeoutError(late) if cut else fault)
            error.may_have_run = True
            raise error from fault
        finally:
            self._left = None
            if waiting is not None and (not waiting.done() or waiting.cancelled()):
                stream.lose(RedisConnectionError("given up while it waited"))  # out of step

    async def _explained(self, fault: Exception) -> BrokerUnavailable:
        """The fault in one line; where the address may lead elsewhere next time, hang up."""
        error = self._address.explain(fault)
        if error.kind not in ("wrong_type", "script", "no_script"):
            await self.close()  # READONLY, LOADING and the like
        return error

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
            with contextlib.suppress(RuntimeError):  # it has been cut already, and ends
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


class _Stream(asyncio.Protocol):
    """A connection that redis-py has opened and greeted, from then on read and written here."""

    def __init__(self, connection: Any) -> None:
        """Takes the transport over from a connected redis.asyncio connection.

        Raises:
            RedisConnectionError: it has been lost already.
        """
        self._connection = connection  # its writer would close the transport when collected
        self._transport: asyncio.Transport = connection._writer.transport
        self._replies = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=connection._parser.parse_error,
            notEnoughData=_NOT_YET,
        )
        self._answers: list[Any] = []
        self._expected = 0
        self._waiting: asyncio.Future[list[Any]] | None = None
        self._most: int | None = None
        self._head = b""
        self.fault: Exception | None = None  # why the connection is lost
        self.received = 0  # bytes, ever
        over = connection._reader.at_eof() or connection._reader.exception() is not None
        self._transport.set_protocol(self)
        if over or self._transport.is_closing():
            self.lose(RedisConnectionError("the connection was closed at once"))
            raise self.fault or RuntimeError
        forked.own(self)

    def descriptors(self) -> Iterator[int]:
        """What is kept from children: with one of them the connection would stay open."""
        yield self._transport.get_extra_info("socket").fileno()

    def ask(self, data: bytes, expected: int, most: int | None) -> asyncio.Future[list[Any]]:
        """Send commands; what is returned ends with their answers, error replies among them.

        With `most`, a first answer that is an item of more bytes is not read: it ends with
        TooLarge. Else it ends with whatever the transport ends with; then the connection is lost.
        """
        if self.fault is not None:
            raise self.fault
        self._answers, self._expected = [], expected
        self._most, self._head = most, b""
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(data)
        except Exception as fault:  # uvloop: RuntimeError where the handle is closed
            self.lose(fault)
        return self._waiting

    def lose(self, fault: Exception) -> None:
        """Drop the connection at once; what waits for answers ends with this fault."""
        if self.fault is not None:
            return
        self.fault = fault
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(fault)
        try:
            self._transport.abort()
        except Exception:  # it is gone
            pass

    async def close(self) -> None:
        """Close the connection; never raises."""
        if self.fault is None:
            self.fault = RedisConnectionError("closed")
        try:
            await self._connection.disconnect(nowait=True)
        except Exception:
            pass

    # -- called by the event loop

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self.received += len(data)
        if self.fault is not None:
            return
        try:
            if self._most is not None:
                self._refuse_large(data, self._most)
            self._replies.feed(data)
            while self._expected and (answer := self._replies.gets()) is not _NOT_YET:
                self._answers.append(answer)
                self._expected -= 1
        except Exception as fault:
            self.lose(fault)
            return
        if self._expected:
            return
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._answers)
        if self._replies.has_data():
            self.lose(RedisConnectionError("the server sent what nobody had asked for"))

    def _refuse_large(self, data: bytes, most: int) -> None:
        """Look at the header of the first answer, "$<bytes>" and a line's end, for an item."""
        self._head = (self._head + data)[:_HEAD_BYTES]
        line, end, start = self._head.partition(b"\r\n")
        if end or not line.startswith(b"$"):
            self._most = None
        if end and line.startswith(b"$") and int(line[1:]) > most:
            raise TooLarge(int(line[1:]), start)

    def connection_lost(self, fault: Exception | None) -> None:
        """The transport is gone: reset, closed, or by our own hand."""
        self.lose(fault or RedisConnectionError("the server closed the connection"))
