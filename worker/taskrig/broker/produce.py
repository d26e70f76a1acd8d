"""A producer for code that lives beside the worker; others need only LPUSH."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from taskrig.broker.address import Address
from taskrig.broker.wire import ThreadWire
from taskrig.config import Config
from taskrig.errors import BrokerUnavailable
from taskrig.keys import Keys

_SURE_FOR_S = 1.0  # a connection that was quiet for longer may have been closed at the other end
_SLICE = 1000


class Producer:
    """Pushes tasks to one queue, over one connection that threads may share."""

    def __init__(self, config: Config) -> None:
        """Raises UsageError when the queue cannot be served in this Cluster."""
        self.queue = config.queue.key
        self._keys = Keys.of(config.queue.key)
        self._push = "LPUSH" if config.queue.pop == "right" else "RPUSH"
        address = Address(config.redis, config.queue.key, "taskrig-producer")
        self._wire = ThreadWire(address, config.redis.socket_timeout_s)
        self._used_at = 0.0

    def push(self, items: Sequence[bytes]) -> None:
        """Push items in order.

        Raises:
            BrokerUnavailable: Redis is out of reach, or its answer was lost: then the items may
                have been pushed all the same, so nothing is sent twice by itself.
        """
        if time.monotonic() - self._used_at > _SURE_FOR_S:
            with contextlib.suppress(BrokerUnavailable):  # then the push connects anew
                self._wire.call("PING")
        for at in range(0, len(items), _SLICE):
            self._wire.call(self._push, self.queue, *items[at : at + _SLICE])
        self._used_at = time.monotonic()

    def clear(self) -> int:
        """Remove what waits in the queue (not what workers hold); returns how many.

        Also what is to be delivered again, waits for its time or for a limit of its type.
        """
        lists = {self.queue, *self._members(self._keys.lists)}
        held = [self._keys.held_of(name) for name in self._members(self._keys.held)]
        waiting = int(self._wire.call("ZCARD", self._keys.delayed))
        self._wire.call("DEL", self._keys.delayed)
        for key in (*lists, *map(self._keys.arrivals_of, lists), self._keys.redeliver, *held):
            waiting += int(self._wire.call("LLEN", key))
            self._wire.call("DEL", key)
        return waiting

    def _members(self, key: str) -> list[str]:
        return [name.decode() for name in self._wire.call("SMEMBERS", key)]
