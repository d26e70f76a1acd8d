"""Where Redis is and how to say what is wrong with it: connections from config, errors in words."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.connection import parse_url as parse_async_url
from redis.backoff import NoBackoff
from redis.connection import parse_url as parse_sync_url
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MaxConnectionsError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from taskrig.broker.greeting import Greeting
from taskrig.broker.locate import ClusterLocator, SentinelLocator, Server
from taskrig.config.sections import RedisConfig
from taskrig.errors import BrokerBroken, BrokerRefused, BrokerUnavailable, UsageError
from taskrig.keys import same_slot
from taskrig.texts import cut


class Address:
    """Makes connections to the server that the config names; async ones and sync ones alike."""

    def __init__(self, config: RedisConfig, queue: str, client_name: str) -> None:
        """Raises UsageError when this queue's keys cannot share a Cluster slot."""
        self.config = config
        self.where = config.masked_url()
        self._greeting = Greeting(client_name)
        self._locator: SentinelLocator | ClusterLocator | None = None
        if config.sentinels:
            self._locator = SentinelLocator(config, config.socket_timeout_s)
            self.where = f"{config.sentinel_master} of Sentinels {', '.join(config.sentinels)}"
        elif config.cluster:
            if not same_slot(queue):
                raise UsageError(
                    f"queue.key {queue!r} has a brace without a hash tag: its keys would not share "
                    "a Cluster slot; name it like {async_tasks} or without braces"
                )
            parsed = dict(parse_sync_url(config.url))  # type: ignore[no-untyped-call]
            first = (parsed.get("host", "localhost"), parsed.get("port", 6379))
            self._locator = ClusterLocator(queue, first, self._node)

    async def open(self) -> Any:
        """An unconnected redis.asyncio connection without retries and without a timeout of its own
        (Connection watches the time: a timer for every command costs a third of the throughput).

        Raises RedisError or OSError when Sentinels or Cluster do not know the server.
        """
        options = self.async_options()
        cls = options.pop("connection_class")
        if self._locator is not None:
            find = self._locator.find
            server = await asyncio.get_running_loop().run_in_executor(None, find)
            options["host"], options["port"] = server
        return cls(**{**options, "socket_connect_timeout": None}, socket_timeout=None)

    async def connect(
        self, begun: Callable[[Any], None], *, identify: bool = False
    ) -> tuple[Any, int | None]:
        """A connection as `open` makes it, ready for commands; with `identify` its id too, None
        where the server does not tell it. `begun` is called with each one that is to be made,
        before it is. Raises what a connection can end with."""

        async def opened() -> Any:
            connection = await self.open()
            begun(connection)
            return connection

        return await self._greeting.connect(opened, identify=identify)

    def connect_sync(self, timeout_s: float, begun: Callable[[Any], None]) -> Any:
        """A blocking connection that is ready for commands, for threads; `begun` as above."""

        def opened() -> Any:
            connection = self.open_sync(timeout_s)
            begun(connection)
            return connection

        return self._greeting.connect_sync(opened)

    def open_sync(self, timeout_s: float) -> Any:
        """An unconnected blocking connection, for threads."""
        return self._connection(timeout_s, self.locate())

    def locate(self) -> Server | None:
        """Where Sentinels or Cluster say that the server is; None where the URL says it.

        It blocks. Raises RedisError or OSError when they do not know it.
        """
        return self._locator.find() if self._locator is not None else None

    def async_options(self) -> dict[str, Any]:
        """What a connection or a pool of redis.asyncio is made with, `connection_class` too.

        Raises ValueError for a URL that redis-py does not understand.
        """
        options = self._options(parse_async_url(self.config.url))
        options.setdefault("connection_class", redis.asyncio.Connection)
        return options

    def _node(self, server: Server) -> Any:
        return self._connection(self.config.socket_timeout_s, server)

    def _connection(self, timeout_s: float, server: Server | None) -> Any:
        options = self._options(parse_sync_url(self.config.url))  # type: ignore[no-untyped-call]
        cls = options.pop("connection_class", redis.Connection)
        if server is not None:
            options["host"], options["port"] = server
        return cls(**options, socket_timeout=timeout_s)

    def _options(self, parsed: Any) -> dict[str, Any]:
        options: dict[str, Any] = dict(parsed)
        config = self.config
        for unwanted in ("socket_timeout", "retry_on_timeout", "retry_on_error", "max_connections"):
            options.pop(unwanted, None)
        if config.username:
            options["username"] = config.username
        if config.password is not None:
            options["password"] = config.password.get_secret_value()
        if config.url.startswith("rediss:"):
            options["ssl_ca_certs"] = config.tls_ca_file
            options["ssl_certfile"] = config.tls_cert_file
            options["ssl_keyfile"] = config.tls_key_file
            options["ssl_check_hostname"] = config.tls_check_hostname and config.tls_verify
            options["ssl_cert_reqs"] = "required" if config.tls_verify else "none"
        if not config.url.startswith("unix:"):
            options["socket_connect_timeout"] = config.socket_timeout_s
        # No HELLO, and no CLIENT SETINFO: managed servers and proxies refuse them.
        options.update(protocol=2, driver_info=None, retry=Retry(NoBackoff(), 0))
        return options

    def explain(self, fault: BaseException) -> BrokerUnavailable:
        """The fault in one line, as the error whose class says whether waiting helps."""
        kind, text = _kind(fault), _words(fault)
        if kind in _NAMED and not text.startswith(kind.upper()):
            text = f"{kind.upper()} {text}"
        error: BrokerUnavailable
        if kind in ("auth", "permission", "database"):
            error = BrokerRefused(f"Redis at {self.where} refuses: {text}")
        elif kind in ("wrong_type", "script"):
            error = BrokerBroken(f"Redis at {self.where} cannot do it: {text}")
        else:
            error = BrokerUnavailable(f"Redis at {self.where}: {text}")
        error.kind = kind
        return error


# Errors from whose text redis-py takes the name away; by it people find them in Redis's manual.
_NAMED: dict[str, type[Exception]] = {
    "moved": MovedError,
    "ask": AskError,
    "masterdown": MasterDownError,
    "clusterdown": ClusterDownError,
    "tryagain": TryAgainError,
}


def _kind(fault: BaseException) -> str:
    """A bounded name for the metric redis_errors_total{kind}."""
    text = str(fault)
    for kind, named in _NAMED.items():
        if isinstance(fault, named):
            return kind
    if isinstance(fault, (NoPermissionError, AuthorizationError)):
        return "permission"
    if isinstance(fault, AuthenticationError) or text.startswith(("NOAUTH", "WRONGPASS")):
        return "auth"
    if isinstance(fault, BusyLoadingError) or text.startswith("LOADING"):
        return "loading"
    if isinstance(fault, ReadOnlyError):
        return "readonly"
    if isinstance(fault, OutOfMemoryError):
        return "out_of_memory"
    if isinstance(fault, MaxConnectionsError) or "max number of clients" in text:
        return "max_clients"
    if isinstance(fault, (RedisTimeoutError, TimeoutError)):
        return "timeout"
    if isinstance(fault, NoScriptError):
        return "no_script"
    if "DB index" in text or "Invalid Database" in text:
        return "database"
    if "WRONGTYPE" in text:
        return "wrong_type"
    if isinstance(fault, ResponseError):
        lead = text.split(" ", 1)[0]
        known = ("MISCONF", "BUSY", "NOREPLICAS")
        return lead.lower() if lead in known else "script"
    if isinstance(fault, RedisConnectionError) or not isinstance(fault, RedisError):
        return "connection"  # whatever else a transport raises: RuntimeError of uvloop, ...
    return "other"


def _words(fault: BaseException) -> str:
    cause = fault.__cause__ if isinstance(fault.__cause__, ssl.SSLError) else fault
    text = " ".join(str(cause).split()) or type(fault).__name__
    return cut(text, 300)
