"""The one place where loadgen opens Redis; errors become one line with the URL masked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from redis.asyncio import Connection, ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from taskrig.broker import Address, Command
from taskrig.errors import TaskrigError, UsageError

if TYPE_CHECKING:
    from taskrig.config.sections import Config

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0  # a stalled server is something to measure, not to give up on


class RedisOutOfReach(TaskrigError):
    """Redis is out of reach or refuses us; the message names the address and the reason."""

    exit_code = 5


# What a failing exchange with Redis can raise.
REDIS_ERRORS = (RedisError, OSError, asyncio.TimeoutError)


def open_redis(config: Config, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Redis:
    """A client that answers in bytes and never sends anything twice by itself.

    A push that is silently repeated after a lost reply would be two tasks, so no retry is
    left to the library (its default is ten). With Sentinels or a Cluster it talks to the server
    that holds the queue at this moment.

    Args:
        timeout_s: longest wait for one answer, in seconds.

    Raises:
        UsageError: the URL or the queue's key cannot work.
        RedisError, OSError: Sentinels or Cluster do not know the server.
    """
    redis = config.redis
    try:
        options: dict[str, Any] = dict(parse_url(redis.url))
    except ValueError as error:
        raise UsageError(f"redis.url {redis.masked_url()}: {error}") from None
    # No HELLO, no CLIENT SETINFO, no CLIENT SETNAME: managed servers and proxies refuse them.
    options |= {"retry": Retry(NoBackoff(), 0), "driver_info": None, "protocol": 2}
    options["socket_timeout"] = timeout_s
    if redis.username:
        options["username"] = redis.username
    if redis.password is not None:
        options["password"] = redis.password.get_secret_value()
    options |= _tls(config)
    if not redis.url.startswith("unix:"):
        options["socket_connect_timeout"] = CONNECT_TIMEOUT_S
    if redis.sentinels or redis.cluster:
        located = Address(redis, config.queue.key, "loadgen").open_sync(CONNECT_TIMEOUT_S)
        options["host"], options["port"] = located.host, located.port
    base = options.pop("connection_class", Connection)
    kind = type(base.__name__, (_Honest, base), {})
    return Redis(connection_pool=ConnectionPool(connection_class=kind, **options))


class _Honest:
    """A connection of redis.asyncio that says "connection lost" for whatever its transport raises.

    After a reset uvloop raises RuntimeError, which redis-py passes on; and redis-py takes an idle
    connection that was reset for a whole one.
    """

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        await _or_lost(super().send_packed_command, *args, **options)  # type: ignore[misc]

    async def read_response(self, *args: Any, **options: Any) -> Any:
        return await _or_lost(super().read_response, *args, **options)  # type: ignore[misc]

    async def can_read(self) -> bool:
        """Asked before an idle connection is used: raises when it was lost meanwhile."""
        reader: asyncio.StreamReader | None = self._reader  # type: ignore[attr-defined]
        if reader is None or reader.exception() is not None:
            raise RedisConnectionError("the connection was lost while it was idle")
        return await _or_lost(super().can_read)  # type: ignore[misc,no-any-return]


async def _or_lost(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    try:
        return await call(*args, **options)
    except (RedisError, OSError):
        raise
    except Exception as fault:
        raise RedisConnectionError(f"{type(fault).__name__}: {fault}") from fault


def _tls(config: Config) -> dict[str, Any]:
    redis = config.redis
    if not redis.url.startswith("rediss:"):
        return {}
    return {
        "ssl_ca_certs": redis.tls_ca_file,
        "ssl_certfile": redis.tls_cert_file,
        "ssl_keyfile": redis.tls_key_file,
        "ssl_check_hostname": redis.tls_check_hostname and redis.tls_verify,
        "ssl_cert_reqs": "required" if redis.tls_verify else "none",
    }


async def ask(client: Redis, command: Command[T]) -> T:
    """Run a command of the broker's over a connection of this client; once, as everything here.

    Raises:
        RedisError, OSError: no answer, or an error for one.
    """
    pool: Any = client.connection_pool
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command([command.data])
        try:
            answer = await connection.read_response()
        except NoScriptError:
            await connection.send_packed_command([command.teaching().data])
            answer = await connection.read_response()
    except ResponseError:
        raise
    except BaseException:
        await connection.disconnect()  # out of step
        raise
    finally:
        await pool.release(connection)
    return command.parse(answer)


@contextmanager
def clear_errors(config: Config) -> Iterator[None]:
    """Turn what redis-py raises inside into RedisOutOfReach, or WrongKeyType."""
    try:
        yield
    except REDIS_ERRORS as error:
        kind = WrongKeyType if "WRONGTYPE" in str(error) else RedisOutOfReach
        raise kind(describe(config, error)) from None


def describe(config: Config, error: BaseException) -> str:
    """One line: which Redis, what happened, what to look at."""
    where = f"Redis at {config.redis.masked_url()}"
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AuthenticationError):
        return f"{where} refuses the user name or password: {text}; set redis.password"
    if isinstance(error, ResponseError):
        if isinstance(error, NoPermissionError) or "NOPERM" in text or "ACL failure" in text:
            return f"{where} refuses us: {text}; docs/loadgen.md lists the rights that are needed"
        if "NOAUTH" in text:
            return f"{where} refuses us: {text}; check redis.username and redis.password"
        if "WRONGTYPE" in text:
            return (
                f"{where}: the key {config.queue.key!r} or one beside it has another type: {text}"
            )
        return f"{where} answers with an error: {text}"
    return f"{where} is out of reach: {text}; is it running, and is redis.url right?"


@asynccontextmanager
async def connected(
    config: Config, *, timeout_s: float = ANSWER_TIMEOUT_S, clients: list[Redis] | None = None
) -> AsyncIterator[Redis]:
    """An open client whose server answers and whose queue key is a list.

    Args:
        timeout_s: longest wait for one answer, in seconds.
        clients: the client is added here before it is asked anything.

    Raises:
        RedisOutOfReach: no server, wrong password, wrong database, or a queue key of another type.
    """
    with clear_errors(config):
        client = open_redis(config, timeout_s=timeout_s)
    if clients is not None:
        clients.append(client)
    try:
        with clear_errors(config):
            kind = await client.type(config.queue.key)
        name = kind.decode() if isinstance(kind, bytes) else str(kind)
        if name not in ("list", "none"):
            raise WrongKeyType(
                f"the key {config.queue.key!r} holds a {name}, not a list; "
                "choose another with --redis-key, or rename that one"
            )
        yield client
    finally:
        await client.aclose()


class WrongKeyType(TaskrigError):
    """The queue's key holds something else than a list, or one beside it is of another type."""

    exit_code = 2
