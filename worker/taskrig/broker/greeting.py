"""What a new connection is asked beside the data: to bear our name, and to tell its id.

Managed servers and proxies refuse such commands, by an error or by hanging up. We can do without:
what was refused is not asked again. Timeouts are not refusals, nor is one connection that ends: any
may be reset. One question that ends two in a row is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

log = logging.getLogger("taskrig.broker")

NAME, ID = "CLIENT SETNAME", "CLIENT ID"


class _HungUp(Exception):
    """The connection was closed instead of an answer to the named question."""


class Greeting:
    """Greets the connections that one address makes."""

    def __init__(self, name: str) -> None:
        """`name`: what CLIENT LIST is to show."""
        self._commands: dict[str, tuple[str, ...]] = {
            NAME: ("CLIENT", "SETNAME", name),
            ID: ("CLIENT", "ID"),
        }
        self._refused: set[str] = set()

    async def connect(
        self, opener: Callable[[], Awaitable[Any]], *, identify: bool
    ) -> tuple[Any, int | None]:
        """A connection that is ready for commands; with `identify` its id too, None where the
        server does not tell it. Raises what connecting raises."""
        hung_up = ""
        while True:
            connection = await opener()
            try:
                await connection.connect()
                return connection, await self._greet(connection, identify)
            except _HungUp as question:
                await connection.disconnect(nowait=True)
                hung_up = self._again(hung_up, str(question))
            except BaseException:
                await connection.disconnect(nowait=True)
                raise

    async def _greet(self, connection: Any, identify: bool) -> int | None:
        answer: Any = None
        for question in self._questions(identify):
            try:
                await connection.send_command(*self._commands[question])
                answer = await connection.read_response()
            except ResponseError as refusal:
                answer = None
                self._note(question, refusal)
            except Exception as fault:
                raise _why(fault, question) from None
        return answer if isinstance(answer, int) else None

    def connect_sync(self, opener: Callable[[], Any]) -> Any:
        """The same for a blocking connection, which needs no id."""
        hung_up = ""
        while True:
            connection = opener()
            try:
                connection.connect()
                self._greet_sync(connection)
                return connection
            except _HungUp as question:
                connection.disconnect()
                hung_up = self._again(hung_up, str(question))
            except BaseException:
                connection.disconnect()
                raise

    def _greet_sync(self, connection: Any) -> None:
        for question in self._questions(identify=False):
            try:
                connection.send_command(*self._commands[question])
                connection.read_response()
            except ResponseError as refusal:
                self._note(question, refusal)
            except Exception as fault:
                raise _why(fault, question) from None

    def _again(self, before: str, question: str) -> str:
        if question == before:
            self._note(question)
        return question

    def _questions(self, identify: bool) -> list[str]:
        return [one for one in (NAME, ID)[: 1 + identify] if one not in self._refused]

    def _note(self, question: str, why: object = "the connection was closed") -> None:
        if question and question not in self._refused:
            self._refused.add(question)
            log.debug("going on without %s: %s", question, why)


def _why(fault: Exception, question: str) -> Exception:
    """The fault; where it only says that the connection was closed, by which question."""
    closed = type(fault) is RedisConnectionError or isinstance(fault, OSError | EOFError)
    return _HungUp(question) if closed and not isinstance(fault, TimeoutError) else fault
