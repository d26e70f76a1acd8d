"""Changes to a task that runs: what of it is done already."""

from __future__ import annotations

from taskrig.broker.address import Address
from taskrig.broker.queue_commands import QueueCommands
from taskrig.broker.thread_connection import ThreadConnection
from taskrig.config.sections import Config


class Amender:
    """Changes the item of a task in flight; for handlers, in threads."""

    def __init__(self, config: Config) -> None:
        self._commands = QueueCommands(config)
        self._most_bytes = config.queue.max_item_bytes
        address = Address(config.redis, config.queue.key, "taskrig-amend")
        self._connection = ThreadConnection(address, config.redis.socket_timeout_s)

    def amend(self, tag: str, raw: bytes) -> bool:
        """Put `raw` in the item's place; False where it was not done: the claim was lost, or `raw`
        is larger than an item may be.

        Raises:
            BrokerUnavailable: Redis is out of reach; it may have been done or not.
        """
        if len(raw) > self._most_bytes:
            return False
        return self._connection.run(self._commands.amend(tag, raw))
