"""What is checked before the worker takes anything: reach, version, types, policy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from taskrig.broker.address import Address
from taskrig.broker.commands import Command, command
from taskrig.broker.connection import Connection
from taskrig.broker.queue_commands import origin_of
from taskrig.broker.replies import mismatch, text
from taskrig.config.sections import Config
from taskrig.errors import BrokerRefused, BrokerUnavailable, UsageError
from taskrig.keys import EXPECTED_TYPES, FORMAT_VERSION, Keys, private_to

Run = Callable[[Command[Any]], Awaitable[Any]]

log = logging.getLogger("taskrig.broker")


async def check_start(config: Config, address: Address, say: Callable[[str], None]) -> None:
    """Wait for Redis up to `redis.connect_timeout`, then check that this queue can be served.

    `say` takes one line for the log. It may be cancelled.

    Raises:
        BrokerUnavailable: not there in time, and why.
        BrokerRefused: at once when it refuses the password, the database or our rights.
        UsageError: a key of the wrong type, or a queue written by a newer version.
    """
    connection = Connection(address, config.redis.socket_timeout_s)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + config.redis.connect_timeout_s
    pause_s, said = 0.05, False
    try:
        while True:
            try:
                await _check(config, connection.run, say)
                return
            except BrokerRefused:
                raise
            except BrokerUnavailable as error:
                left_s = deadline - loop.time()
                if left_s <= 0:
                    waited = f"{config.redis.connect_timeout_s:g} s (redis.connect_timeout)"
                    raise BrokerUnavailable(f"{error}; gave up after {waited}") from error
                if not said:
                    say(f"waiting for Redis: {error}")
                    said = True
                await asyncio.sleep(min(pause_s * random.uniform(0.8, 1.2), left_s))
                pause_s = min(pause_s * 2, 1.0)
    finally:
        await connection.close()


async def _check(config: Config, run: Run, say: Callable[[str], None]) -> None:
    keys = Keys.of(config.queue.key)
    wrong = await find_wrong_key(run, keys, config.queue.sources)
    if wrong:
        raise refusal(wrong)
    await _check_version(run, keys)
    for name in config.queue.sources:
        await _refuse_private_key(run, name)
    origin = await register(run, keys, config.queue.lists and config.queue.sources)
    await _refuse_shared_keys(run, keys, queue_of(origin), say)
    await _check_server(run, say)


class KeyCheck(NamedTuple):
    """A key of ours, and the type that it must have where it exists."""

    what: str
    key: str
    expected: str

    @property
    def question(self) -> Command[str]:
        """Asks for its type."""
        return command("TYPE", self.key, parse=text)

    def complaint(self, found: str) -> str:
        """What is wrong with the type that was found, in words; "" where it is right."""
        if found in ("none", self.expected):
            return ""
        return mismatch(f"{self.what}, {self.key!r},", found, self.expected)


def key_checks(keys: Keys, lists: Sequence[str]) -> list[KeyCheck]:
    """All of our keys that are checked at a start."""
    queue, ours = "the queue's key", "a key of ours"
    found = [
        KeyCheck(queue if name == "queue" else ours, getattr(keys, name), kind)
        for name, kind in EXPECTED_TYPES.items()
    ]
    for source in lists:
        if source != keys.queue:
            found.append(KeyCheck(queue, source, "list"))
            found.append(KeyCheck(ours, keys.arrivals_of(source), "list"))
    return found


def refusal(wrong: str) -> UsageError:
    """The error of a key with a wrong type."""
    return UsageError(
        f"{wrong}: delete or rename it, or choose another queue with queue.key (--redis-key)"
    )


async def find_wrong_key(run: Run, keys: Keys, lists: Sequence[str]) -> str:
    """The first of our keys that holds another type than it must, in words, else ""."""
    for check in key_checks(keys, lists):
        wrong = check.complaint(await run(check.question))
        if wrong:
            return wrong
    return ""


async def register(run: Run, keys: Keys, lists: Sequence[str]) -> str:
    """Say what these keys are, where it is not said yet: their format, the queue that they are of,
    and its lists, which whoever looks at it counts. Returns their origin.

    A server that is full or read-only is asked again by the gauges. Raises BrokerUnavailable.
    """
    with contextlib.suppress(BrokerUnavailable):
        await run(command("SET", keys.version, FORMAT_VERSION, "NX"))
        await run(command("SET", keys.origin, f"{secrets.token_hex(4)} {keys.queue}", "NX"))
        if lists:
            await run(command("SADD", keys.lists, *lists))
    origin: str = await run(origin_of(keys))
    return origin


def queue_of(origin: str) -> str:
    """The queue that keys with this origin are of; "" where it is not known."""
    return origin.partition(" ")[2]


async def _refuse_shared_keys(run: Run, keys: Keys, other: str, say: Callable[[str], None]) -> None:
    """Raises UsageError when another queue's keys are these: `jobs` and `{jobs}` have the same.

    Where nobody serves the other one any more, its keys become this one's.
    """
    if other in ("", keys.queue):
        return
    seconds = (await run(command("TIME")))[0]
    alive = await run(command("ZCOUNT", keys.workers, int(seconds) * 1000, "+inf"))
    if alive or await run(command("EXISTS", other)):
        raise UsageError(
            f"the queues {other!r} and {keys.queue!r} would share their keys, {keys.prefix}*, and "
            f"{other!r} is in use: choose another queue.key (--redis-key)"
        )
    say(f"{keys.prefix}* were the keys of the queue {other!r}, which is empty: they are this one's")
    await run(command("SET", keys.origin, f"{secrets.token_hex(4)} {keys.queue}"))


async def _refuse_private_key(run: Run, name: str) -> None:
    """Raises UsageError when a list to be served is a key of another queue's own."""
    of = private_to(name)
    if of is not None and await run(command("EXISTS", Keys.of(of).version)):
        raise UsageError(
            f"{name!r} is a private key of the queue {of!r}: choose another queue.key (--redis-key)"
        )


async def _check_version(run: Run, keys: Keys) -> None:
    found = await run(command("GET", keys.version))
    if found is None:
        return
    if not found.isdigit() or int(found) > FORMAT_VERSION:
        raise UsageError(
            f"{keys.version!r} says format {found.decode(errors='replace')[:20]}, this worker "
            f"knows {FORMAT_VERSION}: upgrade this worker, or use another queue.key"
        )


async def _check_server(run: Run, say: Callable[[str], None]) -> None:
    """Warn of what loses data later, where the server tells it."""
    policy = await _ask(run, "CONFIG", "GET", "maxmemory-policy")
    if isinstance(policy, list) and len(policy) == 2 and policy[1] != b"noeviction":
        say(
            f"maxmemory-policy is {policy[1].decode()}: a full Redis would throw tasks away; "
            "set it to noeviction"
        )
    info = await _ask(run, "INFO", "server")
    version = _server_version(info) if isinstance(info, bytes) else None
    if version and version < (7, 0):
        raise UsageError(f"the server is version {version[0]}.{version[1]}; 7.0 or newer is needed")


async def _ask(run: Run, *words: str) -> Any:
    """The answer to a question that we can do without; None where it is refused, be it by an error
    or, as some proxies do, by a closed connection."""
    try:
        return await run(command(*words))
    except BrokerUnavailable as error:
        log.debug("going on without %s: %s", " ".join(words[:2]), error)
        return None


def _server_version(info: bytes) -> tuple[int, int] | None:
    found = re.search(rb"^redis_version:(\d+)\.(\d+)", info, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None
