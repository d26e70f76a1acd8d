"""Ends what waits for a Redis that does not answer, once the run has been given up.

A command may wait for long: a stalled server is something to measure. After Ctrl-C nobody wants
that any more. Nothing that talks to Redis is cancelled; the connection is cut under it, and
whatever waits fails as it would in any outage.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from taskrig_loadgen.connection import REDIS_ERRORS, clear_errors, open_redis

if TYPE_CHECKING:
    from taskrig.config.sections import Config

ANSWER_WITHIN_S = 2.0  # after Ctrl-C; who takes longer is not waited for
ASK_EVERY_S = 0.5
CUT_EVERY_S = 0.05


class ConnectionAborter:
    """Cuts the connections of a run that was given up, when Redis no longer answers."""

    def __init__(self) -> None:
        self.given_up = asyncio.Event()
        self.at_once = False  # given up twice
        self.clients: list[Redis] = []  # whose connections may be cut
        self.has_cut = False
        self._cutting = asyncio.Event()
        self._over = False

    def give_up(self) -> None:
        """What Redis answers is still waited for; after a second call it is not."""
        if self.given_up.is_set():
            self.at_once = True
            self._cutting.set()
        self.given_up.set()

    @contextlib.asynccontextmanager
    async def watching(self, config: Config) -> AsyncIterator[None]:
        """Cut where it must be, until the block ends.

        Raises:
            RedisOutOfReach: Sentinels or Cluster do not know the server.
        """
        with clear_errors(config):
            asked = open_redis(config, timeout_s=ANSWER_WITHIN_S)  # connects only when asked
        self.clients.append(asked)
        asking = asyncio.create_task(self._ask(asked))
        cutting = asyncio.create_task(self._cut(asking))
        try:
            yield
        finally:
            self._over = True
            self.given_up.set()
            self._cutting.set()
            await asyncio.gather(asking, cutting)
            await asked.aclose()

    async def _ask(self, asked: Redis) -> None:
        """Once given up: ask Redis until it does not answer."""
        await self.given_up.wait()
        while not self._cutting.is_set() and await _answers(asked):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_EVERY_S):
                    await self._cutting.wait()
        self._cutting.set()

    async def _cut(self, asking: asyncio.Task[None]) -> None:
        """Whatever waits, and whatever is begun after that, until nobody asks any more."""
        await self._cutting.wait()
        while not (self._over and asking.done()):
            self.has_cut = True
            for client in self.clients:
                _cut(client)
            await asyncio.sleep(CUT_EVERY_S)


async def _answers(client: Redis) -> bool:
    try:
        await client.ping()
    except ResponseError:  # it refuses PING: that is an answer
        return True
    except REDIS_ERRORS:
        return False
    return True


def _cut(client: Redis) -> None:
    """Break the connections that wait for an answer.

    Not by redis-py's own disconnect: that first waits until the server has taken what is written.
    """
    pool: Any = client.connection_pool
    for connection in list(pool._in_use_connections):
        if connection._writer is not None:
            connection._writer.transport.abort()
