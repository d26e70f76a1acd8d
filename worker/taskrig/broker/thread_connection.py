"""A connection to Redis for threads: blocking, one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, TypeVar

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    MaxConnectionsError,
    NoScriptError,
    ResponseError,
)

from taskrig.broker.address import Address
from taskrig.broker.commands import Command
from taskrig.runtime import forked

T = TypeVar("T")

# What the server answers with: the command was not executed.
REFUSALS = (
    *(ResponseError, AuthenticationError, AuthorizationError),
    *(BusyLoadingError, MaxConnectionsError),
)


class ThreadConnection:
    """A connection that threads share; nothing is ever sent twice."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._connection: Any = None
        self._begun: Any = None  # the same, also while it is being made
        self._before: frozenset[int] | None = None  # sockets then, while it is being made
        forked.own(self)

    def descriptors(self) -> Iterator[int]:
        """What is kept from children. Until its socket is known, that is each one opened since it
        was begun."""
        sock, before = getattr(self._begun, "_sock", None), self._before
        if sock is not None:
            yield sock.fileno()
        elif before is not None:
            yield from forked.sockets() - before

    def run(self, command: Command[T]) -> T:
        """Send a command and read its answer. A server that does not know its script is taught.

        Raises BrokerUnavailable, after which the next call connects anew.
        """
        try:
            answer = self._ask(command.data)
        except NoScriptError:
            answer = self._ask(command.teaching().data)
        return command.parse(answer)

    def _ask(self, data: bytes) -> Any:
        sent = False
        with self._turn:
            try:
                connection = self._connected()
                sent = True
                connection.send_packed_command([data])
                return connection.read_response(disable_decoding=True)
            except NoScriptError:
                raise
            except BaseException as fault:
                self.close()  # also where a signal or a greenlet's end comes: it is out of step
                if not isinstance(fault, Exception):
                    raise
                error = self._address.explain(fault)
                error.may_have_run = sent and not isinstance(fault, REFUSALS)
                raise error from fault

    def _connected(self) -> Any:
        """A connection; one that was closed while it was idle is made again before it is used."""
        if self._connection is not None and _is_over(self._connection):
            self.close()
        if self._connection is None:
            try:
                self._connection = self._address.connect_sync(self._timeout_s, self._begin)
            finally:
                self._before = None
        return self._connection

    def _begin(self, connection: Any) -> None:
        self._begun, self._before = connection, forked.sockets()

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
