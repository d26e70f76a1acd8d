"""The lease as a thread keeps it, and the last resort of a process whose event loop is stuck."""

from __future__ import annotations

import time

from taskrig.broker.address import Address
from taskrig.broker.exchange import ExchangeCommands
from taskrig.broker.queue_commands import QueueCommands
from taskrig.broker.thread_connection import ThreadConnection
from taskrig.config.sections import Config
from taskrig.errors import BrokerUnavailable
from taskrig.task import Outcome, Settlement

RELEASE_TRIES, RELEASE_PAUSE_S = 3, 0.1


class LeaseConnection:
    """Renews from a thread of its own, over a connection of its own."""

    def __init__(self, config: Config, worker_id: str, address: Address) -> None:
        self._commands = QueueCommands(config)
        self._exchanges = ExchangeCommands(config, worker_id)
        self._id = worker_id
        self._lease_s = config.worker.lease_s
        timeout_s = min(config.redis.socket_timeout_s, max(0.2, self._lease_s / 3))
        self._connection = ThreadConnection(address, timeout_s)

    def renew(self, about: str) -> tuple[bool, float, float]:
        """Renew and describe.

        Returns (whether there was no live lease, the server's clock minus `time.monotonic()` in
        seconds, the round trip in seconds). Raises BrokerUnavailable.
        """
        renew = self._commands.renew(self._id, self._lease_s, about)
        before = time.monotonic()
        renewed = self._connection.run(renew)
        after = time.monotonic()
        return renewed.gap, renewed.at - (before + after) / 2, after - before

    def probe(self) -> tuple[float, float]:
        """The server's clock as `renew` tells it, and the round trip; raises BrokerUnavailable."""
        before = time.monotonic()
        at = self._connection.run(self._commands.time())
        after = time.monotonic()
        return at - (before + after) / 2, after - before

    def release(self, tags: list[str]) -> None:
        """Give tags back although the event loop is stuck; raises BrokerUnavailable.

        A connection that ends meanwhile is tried again: to give back twice changes nothing.
        """
        settled = [Settlement(tag, Outcome.RELEASED) for tag in tags]
        release = self._exchanges.turn(settled, 0, 0, 0, True)
        for left in range(RELEASE_TRIES - 1, -1, -1):
            try:
                self._connection.run(release)
                return
            except BrokerUnavailable as error:
                if not left or error.kind != "connection":
                    raise
                time.sleep(RELEASE_PAUSE_S)

    def close(self) -> None:
        """Close the connection; never raises."""
        self._connection.close()
