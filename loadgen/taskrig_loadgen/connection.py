"""The one place where loadgen opens Redis: by the worker's options, with the worker's error texts.

It has connections of its own because many pushes share one write (`pipeline`), a stalled server is
something to measure, and a run that is given up cuts its connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from taskrig.broker import Address, Command
from taskrig.broker.start import KeyCheck, key_checks, refusal
from taskrig.errors import TaskrigError, UsageError
from taskrig.keys import Keys

if TYPE_CHECKING:
    from taskrig.config.sections import Config

T = TypeVar("T")

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
    address = Address(redis, config.queue.key, "loadgen")
    try:
        options = address.async_options()
    except ValueError as error:
        raise UsageError(f"redis.url {redis.masked_url()}: {error}") from None
    options["socket_timeout"] = timeout_s
    server = address.locate()
    if server is not None:
        options["host"], options["port"] = server
    base = options.pop("connection_class")
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


class WrongKey(ResponseError):
    """A key of the queue is of another type; the message says which, in words."""


@contextmanager
def clear_errors(config: Config) -> Iterator[None]:
    """Turn what redis-py raises inside into RedisOutOfReach, or UsageError for a wrong key."""
    try:
        yield
    except WrongKey as error:
        raise refusal(str(error)) from None
    except REDIS_ERRORS as error:
        raise RedisOutOfReach(describe(config, error)) from None


def describe(config: Config, error: BaseException) -> str:
    """One line: which Redis, and what happened; as the worker says it."""
    return str(Address(config.redis, config.queue.key, "loadgen").explain(error))


@asynccontextmanager
async def connected(
    config: Config, *, timeout_s: float = ANSWER_TIMEOUT_S, clients: list[Redis] | None = None
) -> AsyncIterator[Redis]:
    """An open client whose server answers and whose queue key is a list.

    Args:
        timeout_s: longest wait for one answer, in seconds.
        clients: the client is added here before it is asked anything.

    Raises:
        RedisOutOfReach: no server, wrong password, wrong database.
        UsageError: a queue key of another type.
    """
    with clear_errors(config):
        client = open_redis(config, timeout_s=timeout_s)
    if clients is not None:
        clients.append(client)
    try:
        with clear_errors(config):
            await refuse_wrong_key(client, key_checks(Keys.of(config.queue.key), ())[:1])
        yield client
    finally:
        await client.aclose()


async def refuse_wrong_key(client: Redis, checks: Iterable[KeyCheck]) -> None:
    """Raises WrongKey where a key holds another type than it must."""
    for check in checks:
        if wrong := check.complaint(await ask(client, check.question)):
            raise WrongKey(wrong)
