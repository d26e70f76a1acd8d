"""Results that producers asked for, pushed to lists of their own."""

from __future__ import annotations

import logging

from taskrig.broker.address import Address
from taskrig.broker.queue_commands import MOST_RESULTS, push_result
from taskrig.broker.thread_connection import ThreadConnection
from taskrig.config.sections import Config
from taskrig.keys import Keys

log = logging.getLogger("taskrig.broker")


class Results:
    """Pushes results; for handlers that run in threads."""

    def __init__(self, config: Config) -> None:
        self._keys = Keys.of(config.queue.key)
        address = Address(config.redis, config.queue.key, "taskrig-results")
        self._connection = ThreadConnection(address, config.redis.socket_timeout_s)
        self._said = False

    def allows(self, key: str) -> bool:
        """Whether it is not a key of the queue's own."""
        return not self._keys.owns(key)

    def push(self, key: str, result: bytes) -> None:
        """RPUSH to `key`; raises BrokerUnavailable, after which it may be there or not."""
        length = self._connection.run(push_result(key, result))
        if length > MOST_RESULTS and not self._said:
            self._said = True
            log.warning(
                "results are lost: the list %s is full with %d, so each new one drops the oldest; "
                "nobody seems to read it (said only once)",
                ascii(key[:100]),
                MOST_RESULTS,
            )
