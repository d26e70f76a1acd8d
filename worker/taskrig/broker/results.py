"""Results that producers asked for, pushed to lists of their own."""

from __future__ import annotations

import logging

from taskrig.broker.address import Address
from taskrig.broker.scripts import RESULT
from taskrig.broker.wire import ThreadWire
from taskrig.config import Config
from taskrig.keys import Keys

log = logging.getLogger("taskrig.broker")

MOST_RESULTS = 10_000  # of one list; the oldest go first
EXPIRE_S = 86_400  # after the last result


class Results:
    """Pushes results; for handlers that run in threads."""

    def __init__(self, config: Config) -> None:
        self._keys = Keys.of(config.queue.key)
        address = Address(config.redis, config.queue.key, "taskrig-results")
        self._wire = ThreadWire(address, config.redis.socket_timeout_s)
        self._said = False

    def allows(self, key: str) -> bool:
        """Whether it is not a key of the queue's own."""
        return not self._keys.owns(key)

    def push(self, key: str, result: bytes) -> None:
        """RPUSH to `key`; raises BrokerUnavailable, after which it may be there or not."""
        length = self._wire.run(RESULT, (key,), result, MOST_RESULTS, EXPIRE_S)
        if length > MOST_RESULTS and not self._said:
            self._said = True
            log.warning(
                "results are lost: the list %s is full with %d, so each new one drops the oldest; "
                "nobody seems to read it (said only once)",
                ascii(key[:100]),
                MOST_RESULTS,
            )
