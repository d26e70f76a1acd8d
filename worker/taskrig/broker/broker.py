"""All that the worker's event loop asks of Redis, over its connections."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from taskrig.broker import replies
from taskrig.broker.address import Address
from taskrig.broker.commands import Command
from taskrig.broker.connection import Connection
from taskrig.broker.exchange import Exchange, ExchangeCommands, Move
from taskrig.broker.queue_commands import QueueCommands
from taskrig.broker.start import find_wrong_key, register
from taskrig.broker.survey import about_of
from taskrig.config.sections import Config
from taskrig.errors import BrokerBroken, BrokerUnavailable
from taskrig.task import Delivery

T = TypeVar("T")

TAGS_AT_A_TIME = 100


class Broker:
    """Three kinds of connections: one for exchanges, one that holds the blocking move (one for each
    list), one for everything slower."""

    def __init__(
        self, config: Config, worker_id: str, address: Address, *, positions: bool = False
    ) -> None:
        """With `positions`, each delivery knows its own; unique types need them."""
        self.commands = QueueCommands(config)
        self.where = address.where
        timeout_s = config.redis.socket_timeout_s
        self.worker_id = worker_id
        self._queue = config.queue
        exchanges = ExchangeCommands(config, worker_id, positions=positions)
        self.exchange = Exchange(exchanges, Connection(address, timeout_s))
        self._side = Connection(address, timeout_s)
        self._side_turn = asyncio.Lock()  # several share it, one call at a time
        # Short enough that a look comes every interval, and that no timeout fires first.
        hold_s = min(config.worker.interval_s, 1.0, config.worker.lease_s / 3, timeout_s / 2)
        self.moves = tuple(
            Move(
                Connection(address, timeout_s, identify=True),
                *(exchanges, source, config, hold_s, self.run),
            )
            for source in config.queue.sources
        )

    async def run(self, one: Command[T]) -> T:
        """Run a command beside the exchanges; raises BrokerUnavailable."""
        async with self._side_turn:
            return await self._side.run(one)

    async def run_between(self, one: Command[T]) -> T:
        """Run a command between two exchanges, over their connection; raises BrokerUnavailable."""
        return await self.exchange.connection.run(one)

    async def find(self, first: int, count: int) -> list[Delivery]:
        """Of the tags that a lost exchange could have created, those that are in flight.

        Raises:
            BrokerUnavailable
        """
        found: list[Delivery] = []
        for start in range(first, first + count, TAGS_AT_A_TIME):
            stop = min(start + TAGS_AT_A_TIME, first + count)
            tags = [f"{self.worker_id}:{n}" for n in range(start, stop)]
            raws = await self.run(self.commands.items(tags))
            counts = await self.run(self.commands.counts(tags))
            found += replies.in_flight(tags, raws, counts)
        return found

    async def with_wrong_key(self, error: BrokerUnavailable) -> BrokerUnavailable:
        """The error of a wrong type, naming the key: the server's own message does not."""
        try:
            wrong = await find_wrong_key(self.run, self.commands.keys, self._queue.sources)
        except BrokerUnavailable:
            return error
        if not wrong:
            return error
        named = BrokerBroken(f"{wrong}: delete or rename it")
        named.kind = error.kind
        return named

    async def register(self) -> str:
        """Say what the keys of this queue are, where that is gone with the data; their origin."""
        lists = self._queue.sources if self._queue.lists else ()
        return await register(self.run, self.commands.keys, lists)

    async def limited_names(self) -> set[str]:
        """Names in keys of the types that some worker has limits for; raises BrokerUnavailable."""
        names: set[str] = set()
        cursor = b"0"
        while True:
            cursor, abouts = await self.run(self.commands.abouts(cursor))
            for about in map(about_of, abouts):
                limited = about.get("limited")
                if isinstance(limited, list):
                    names.update(name for name in limited if isinstance(name, str))
            if int(cursor) == 0:
                return names

    def _connections(self) -> list[Connection]:
        moves = [move.connection for move in self.moves]
        return [*moves, self.exchange.connection, self._side]

    def abandon(self, why: str) -> None:
        """The worker ends, and Redis does not answer: end every call, now and later, with that."""
        for connection in self._connections():
            connection.abandon(why)

    async def close(self) -> None:
        """Close the connections; never raises."""
        for connection in self._connections():
            await connection.close()
