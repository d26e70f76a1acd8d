"""A producer for code that lives beside the worker; others need only LPUSH."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from taskrig.broker.address import Address
from taskrig.broker.commands import command
from taskrig.broker.queue_commands import QueueCommands
from taskrig.broker.thread_connection import ThreadConnection
from taskrig.config.sections import Config
from taskrig.errors import BrokerUnavailable

_SURE_FOR_S = 1.0  # a connection that was quiet for longer may have been closed at the other end
_SLICE = 1000


class Producer:
    """Pushes tasks to one queue, over one connection that threads may share."""

    def __init__(self, config: Config) -> None:
        """Raises UsageError when the queue cannot be served in this Cluster."""
        self.queue = config.queue.key
        self._commands = QueueCommands(config)
        address = Address(config.redis, config.queue.key, "taskrig-producer")
        self._connection = ThreadConnection(address, config.redis.socket_timeout_s)
        self._used_at = 0.0

    def push(self, items: Sequence[bytes]) -> None:
        """Push items in order.

        Raises:
            BrokerUnavailable: Redis is out of reach, or its answer was lost: then the items may
                have been pushed all the same, so nothing is sent twice by itself.
        """
        if time.monotonic() - self._used_at > _SURE_FOR_S:
            with contextlib.suppress(BrokerUnavailable):  # then the push connects anew
                self._connection.run(command("PING"))
        for at in range(0, len(items), _SLICE):
            self._connection.run(self._commands.push(items[at : at + _SLICE]))
        self._used_at = time.monotonic()

    def clear(self) -> int:
        """Remove what waits in the queue (not what workers hold); returns how many.

        Also what is to be delivered again, waits for its time or for a limit of its type.
        """
        run, commands, keys = self._connection.run, self._commands, self._commands.keys
        lists = {self.queue, *run(commands.lists())}
        held = [keys.held_of(name) for name in run(commands.held_names())]
        waiting: int = run(command("ZCARD", keys.delayed))
        run(command("DEL", keys.delayed))
        for key in (*lists, *map(keys.arrivals_of, lists), keys.redeliver, *held):
            waiting += run(command("LLEN", key))
            run(command("DEL", key))
        return waiting
