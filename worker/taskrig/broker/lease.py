"""The lease as a thread keeps it, and the last resort of a process whose event loop is stuck."""

from __future__ import annotations

import time

from taskrig.broker.address import Address
from taskrig.broker.queue import exchange_keys
from taskrig.broker.scripts import EXCHANGE, RENEW
from taskrig.broker.wire import ThreadWire
from taskrig.config import Config
from taskrig.errors import BrokerUnavailable
from taskrig.keys import Keys

RELEASE_TRIES, RELEASE_PAUSE_S = 3, 0.1


class LeaseWire:
    """Renews from a thread of its own, over a connection of its own."""

    def __init__(self, config: Config, worker_id: str, address: Address) -> None:
        self._keys = Keys.of(config.queue.key)
        self._id = worker_id
        self._lease_ms = round(config.worker.lease_s * 1000)
        self._config = config
        timeout_s = min(config.redis.socket_timeout_s, max(0.2, config.worker.lease_s / 3))
        self._wire = ThreadWire(address, timeout_s)

    def renew(self, about: str) -> tuple[bool, float, float]:
        """Renew and describe.

        Returns (whether there was no live lease, the server's clock minus `time.monotonic()` in
        seconds, the round trip in seconds). Raises BrokerUnavailable.
        """
        keys = (self._keys.workers, self._keys.about)
        before = time.monotonic()
        gap, seconds, micros = self._wire.run(RENEW, keys, self._id, self._lease_ms, about)
        after = time.monotonic()
        return gap == 1, seconds + micros / 1e6 - (before + after) / 2, after - before

    def release(self, tags: list[str]) -> None:
        """Give tags back although the event loop is stuck; raises BrokerUnavailable.

        A connection that ends meanwhile is tried again: to give back twice changes nothing.
        """
        k, config = self._keys, self._config
        keys = exchange_keys(k, config)
        settled = [field for tag in tags for field in ("released", tag, *[""] * 6)]
        arguments = (
            *(self._id, self._lease_ms, 0, 0, 0, config.queue.pop, 0, 0),
            *(config.worker.max_deliveries, 0, 0, 0, k.run(""), 0, "1", "", 0, *settled),
        )
        for left in range(RELEASE_TRIES - 1, -1, -1):
            try:
                self._wire.run(EXCHANGE, keys, *arguments)
                return
            except BrokerUnavailable as error:
                if not left or error.kind != "connection":
                    raise
                time.sleep(RELEASE_PAUSE_S)

    def close(self) -> None:
        """Close the connection; never raises."""
        self._wire.close()
