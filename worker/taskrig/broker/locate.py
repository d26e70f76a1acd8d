"""Which server holds the queue now: asked of Sentinels or of a Cluster at every new connection.

A worker uses one queue, and all its keys share a slot, so that even in a Cluster it needs to know
one server only. Blocking code: it runs when a connection is made, never on the hot path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.sentinel import Sentinel

from taskrig.config.sections import RedisConfig

Server = tuple[str, int]


class SentinelLocator:
    """Asks the Sentinels for the master's address."""

    def __init__(self, config: RedisConfig, timeout_s: float) -> None:
        password = config.sentinel_password
        options: dict[str, Any] = {"socket_timeout": timeout_s, "protocol": 2}
        if password is not None:
            options["password"] = password.get_secret_value()
        self._master = config.sentinel_master or ""
        servers = [_server(place) for place in config.sentinels]
        self._sentinel = Sentinel(servers, sentinel_kwargs=options)  # type: ignore[no-untyped-call]

    def find(self) -> Server:
        """The master's host and port; raises RedisError when no Sentinel knows."""
        host, port = self._sentinel.discover_master(self._master)  # type: ignore[no-untyped-call]
        return str(host), int(port)


class ClusterLocator:
    """Asks any node of a Cluster who serves the queue's slot."""

    def __init__(self, queue: str, first: Server, connect: Callable[[Server], Any]) -> None:
        """`connect` opens a blocking connection to one node."""
        self._slot = key_slot(queue.encode())
        self._first = first
        self._connect = connect
        self._nodes: list[Server] = []

    def find(self) -> Server:
        """Host and port of the slot's master; raises RedisError when no node answers."""
        fault: RedisError | OSError = RedisConnectionError("no node of the cluster answers")
        for node in dict.fromkeys([self._first, *self._nodes]):
            try:
                return self._ask(node)
            except (RedisError, OSError) as caught:
                fault = caught
        raise fault

    def _ask(self, node: Server) -> Server:
        connection = self._connect(node)
        try:
            connection.connect()
            connection.send_command("CLUSTER", "SLOTS")
            ranges = connection.read_response(disable_decoding=True)
        finally:
            connection.disconnect()
        known, found = [], None
        for start, end, *servers in ranges:
            places = [(s[0].decode() or node[0], int(s[1])) for s in servers]
            known += places
            if start <= self._slot <= end:
                found = places[0]
        self._nodes = list(dict.fromkeys(known))
        if found is None:
            raise RedisConnectionError(f"no node of the cluster serves slot {self._slot}")
        return found


def _server(place: str) -> Server:
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)
