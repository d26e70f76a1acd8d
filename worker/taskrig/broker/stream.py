"""The bytes of one connection to Redis: answers are read as they come, in the loop's own callback.

So an answer that has come is known at once, whatever waits for the event loop; a connection that
was lost is known too, and never written to again; and a too large item is seen by the header of
its reply, before it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from taskrig.runtime import forked

_NOT_YET = object()
_HEAD_BYTES = 128  # of an item that is too large: its header and a little more


class TooLarge(Exception):
    """A reply is an item larger than allowed; it was not read. The connection is gone."""

    def __init__(self, size: int, start: bytes) -> None:
        """`size` in bytes; `start` is what had come of the item."""
        super().__init__(f"an item of {size} bytes")
        self.size = size
        self.start = start


class Stream(asyncio.Protocol):
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

    async def ask(self, data: bytes, expected: int, most: int | None = None) -> list[Any]:
        """Send commands and return their answers; error replies are among them.

        With `most`, a first answer that is an item of more bytes is not read.

        Raises:
            TooLarge: by `most`.
            Exception: whatever the transport ends with; the connection is lost.
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
        try:
            return await self._waiting
        finally:
            if not self._waiting.done() or self._waiting.cancelled():
                self.lose(RedisConnectionError("given up while it waited"))  # out of step
            self._waiting = None

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
