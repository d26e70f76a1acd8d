"""`Queue`: what a producer in Python asks of a queue, in threads and in event loops.

Each call has two names, as in Django: `enqueue` blocks, `await queue.aenqueue` does not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from taskrig.broker import Command, QueueCommands
from taskrig.broker.steps import Once, Steps
from taskrig.client import items, results
from taskrig.client.cancelling import Cancelled, cancel_task
from taskrig.client.items import Default, Item, item_of
from taskrig.client.results import TaskResult
from taskrig.client.wires import Wires
from taskrig.config.load import load_config
from taskrig.config.sections import Config
from taskrig.errors import BrokerUnavailable, PushFailed
from taskrig.task import MAX_ID_BYTES
from taskrig.texts import did_you_mean, plain

T = TypeVar("T")

SLICE_ITEMS, SLICE_BYTES = 1000, 4 * 2**20  # of one push; up to that, many tasks are one round trip
MOST_HELD_S = 2.5  # by the server, of one wait; then it is asked again
FOR_EVER_S = 1e9

_NAMES = {"TASKRIG_REDIS__URL": "url", "TASKRIG_QUEUE__KEY": "key"}  # an argument goes first


class Queue:
    """One queue. Threads and event loops may share it, and a child of a fork gets connections of
    its own. It connects when it is first used; a closed one connects again."""

    task = staticmethod(items.task)

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        config: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        default: Default | None = None,
    ) -> None:
        """`Queue()` reads what `worker` reads: ./config.yaml if there is one, and the environment.

        Args:
            url: of Redis. With it, or with `settings`, ./config.yaml is not looked for.
            key: the queue's list; `queue.key` of the configuration by default.
            config: a config.yaml to read.
            settings: sections as in config.yaml, such as {"redis": {"password": "..."}}.
            default: what to make of a value that JSON does not know, as in `json.dumps`.

        Raises:
            UsageError: the configuration is wrong; with every problem, a line each.
        """
        self._use(_config_of(url, key, config, settings), default)

    @classmethod
    def of(cls, config: Config, default: Default | None = None) -> Self:
        """The queue of a loaded configuration."""
        queue = cls.__new__(cls)
        queue._use(config, default)
        return queue

    def _use(self, config: Config, default: Default | None) -> None:
        self._config = config
        self._default = default
        self._commands = QueueCommands(config)
        self._connected = Wires(config)

    @property
    def config(self) -> Config:
        """The configuration that holds."""
        return self._config

    @property
    def key(self) -> str:
        """The queue's list."""
        return self._config.queue.key

    # -- pushing ---------------------------------------------------------------------------------

    def enqueue(
        self,
        type: str,  # noqa: A002 - public
        data: Any = None,
        *,
        id: str | int | None = None,  # noqa: A002 - public
        delay: float | timedelta | None = None,
        run_at: float | datetime | None = None,
        result_ttl: float | None = None,
        list: str | None = None,  # noqa: A002 - public
        **keys: Any,
    ) -> str:
        """Push one task; returns its id.

        Args:
            type: the task's type, which chooses the handler.
            data: what the handler gets, any JSON value; {} by default.
            id: of your own choice; by default one is made.
            delay: seconds to wait before it may run, or a timedelta.
            run_at: Unix seconds, or a datetime with a time zone, before which it does not run.
            result_ttl: seconds for which its result is kept.
            list: one of `queue.lists`; the queue's key by default.
            keys: more keys of the task, such as traceparent.

        Raises:
            ValueError: a worker would refuse it. Nothing was pushed.
            PushFailed: Redis is out of reach or refuses it, or its answer was lost: then the task
                may or may not be in the queue, see `unsure`. It is not sent again.
        """
        more = {"result_ttl": result_ttl, **keys}
        made = items.task(type, data, id=id, delay=delay, run_at=run_at, **more)
        return self.push_made([self.made(made)], list)[0]

    async def aenqueue(
        self,
        type: str,  # noqa: A002 - public
        data: Any = None,
        *,
        id: str | int | None = None,  # noqa: A002 - public
        delay: float | timedelta | None = None,
        run_at: float | datetime | None = None,
        result_ttl: float | None = None,
        list: str | None = None,  # noqa: A002 - public
        **keys: Any,
    ) -> str:
        """`enqueue`, to be awaited."""
        more = {"result_ttl": result_ttl, **keys}
        made = items.task(type, data, id=id, delay=delay, run_at=run_at, **more)
        return (await self._wires.run_async(self._push([self.made(made)], list)))[0]

    def enqueue_many(
        self,
        tasks: Iterable[Mapping[str, Any]],
        *,
        list: str | None = None,  # noqa: A002 - public
    ) -> Sequence[str]:
        """Push tasks in order, up to 1,000 in one round trip; returns their ids.

        Args:
            tasks: dicts with a type, as `Queue.task("email", {...}, delay=60)` makes them.
            list: one of `queue.lists`; the queue's key by default.

        Raises:
            ValueError: a worker would refuse one of them. None was pushed.
            PushFailed: as `enqueue`; it tells which tasks are in the queue.
        """
        return self.push_made([self.made(one) for one in tasks], list)

    async def aenqueue_many(
        self,
        tasks: Iterable[Mapping[str, Any]],
        *,
        list: str | None = None,  # noqa: A002 - public
    ) -> Sequence[str]:
        """`enqueue_many`, to be awaited."""
        made = [self.made(one) for one in tasks]
        return await self._wires.run_async(self._push(made, list))

    def made(self, given: Mapping[str, Any]) -> Item:
        """A task checked and encoded, to be pushed later by `push_made`; raises ValueError."""
        return item_of(given, self._config.queue.max_item_bytes, self._default)

    def push_made(self, made: Sequence[Item], list: str | None = None) -> Sequence[str]:  # noqa: A002
        """Push what `made` made; returns the ids. Raises as `enqueue_many` does."""
        return self._wires.run(self._push(made, list))

    def push_recorded(self, made: Item, ttl_s: int, list: str | None = None) -> None:  # noqa: A002
        """Push one task, and keep its item under its id for `ttl_s` seconds; see `record`."""
        self._wires.run(self._push_recorded(made, ttl_s, list))

    def _push_recorded(self, made: Item, ttl_s: int, to: str | None) -> Steps[None]:
        try:
            yield self._commands.keep_record(made.id, made.raw, ttl_s)
        except BrokerUnavailable as error:  # it may be kept, but nothing was pushed
            error.may_have_run = False
            raise _push_failed(error, 1, [], []) from error
        yield from self._push([made], to)

    def record(self, id: str) -> bytes | None:  # noqa: A002
        """The item that `push_recorded` kept; None where there is none."""
        found: bytes | None = self._wires.run(_one(self._commands.record(id)))
        return found

    def _push(self, made: Sequence[Item], to: str | None) -> Steps[Sequence[str]]:
        if to is not None:
            yield from self._refuse_unknown_list(to)
        ids, at = [one.id for one in made], 0
        for part in _slices([one.raw for one in made]):
            tracked = [one.id for one in made[at : at + len(part)] if self._is_tracked(one)]
            try:
                if tracked:
                    yield Once(self._commands.push_tracked(part, tracked, to or self.key))
                else:
                    yield Once(self._commands.push(part, to or self.key))
            except BrokerUnavailable as error:
                unsure = ids[at : at + len(part)] if error.may_have_run else []
                raise _push_failed(error, len(ids), ids[:at], unsure) from error
            at += len(part)
        return ids

    def _is_tracked(self, one: Item) -> bool:
        """Whether the configuration keeps the state of tasks of its type."""
        of_type = self._config.tasks.get(one.type)
        return (
            of_type is not None and of_type.track is True and len(one.id.encode()) <= MAX_ID_BYTES
        )

    def _refuse_unknown_list(self, name: str) -> Steps[None]:
        """Raises ValueError where no worker would look into this list."""
        known: Sequence[str] = self._config.queue.sources
        if name not in known:  # the workers' configuration may have more
            known = [*known, *(yield self._commands.lists())]
        if name not in known:
            shown = ", ".join(plain(one, 60) for one in dict.fromkeys(known))
            raise ValueError(
                f"list: {plain(name, 60)!r} is not a list of this queue ({shown})"
                f"{did_you_mean(name, known)}"
            )

    # -- what became of it -----------------------------------------------------------------------

    def result(self, id: str | int, timeout: float = 10.0) -> TaskResult | None:  # noqa: A002
        """What became of a task whose result is kept; waits `timeout` seconds for it at most.

        None where it has not ended by then, or where no result is kept of it (any more).

        Raises:
            BrokerUnavailable: Redis is out of reach.
        """
        return self._wires.run(self._wait(id, timeout))

    async def aresult(self, id: str | int, timeout: float = 10.0) -> TaskResult | None:  # noqa: A002
        """`result`, to be awaited."""
        return await self._wires.run_async(self._wait(id, timeout))

    def _wait(self, task_id: str | int, timeout_s: float) -> Steps[TaskResult | None]:
        if not 0 <= timeout_s < FOR_EVER_S:
            raise ValueError(f"timeout must be seconds from 0, not {timeout_s!r:.60}")
        hold_s = min(MOST_HELD_S, self._config.redis.socket_timeout_s / 2)
        return results.wait(self._commands, str(task_id), timeout_s, hold_s)

    def state(self, id: str | int) -> str | None:  # noqa: A002
        """How a task stands: `waiting` or `running` (of types with `track`), or `succeeded`,
        `failed` or `dead` (where its result is kept). None where Redis keeps neither.

        Raises:
            BrokerUnavailable: Redis is out of reach.
        """
        return self._wires.run(results.state(self._commands, str(id)))

    async def astate(self, id: str | int) -> str | None:  # noqa: A002
        """`state`, to be awaited."""
        return await self._wires.run_async(results.state(self._commands, str(id)))

    def cancel(self, id: str | int, within: float = 10.0) -> Cancelled:  # noqa: A002
        """Cancel one task. It is looked for in the whole queue, in slices, for `within` seconds.

        Returns:
            `dropped`: it waited, and is now a dead letter, reason `cancelled`; it does not run.
            `asked`: it runs, and its worker was asked to stop it.
            `ended`: it is a dead letter already. `not_found`: it has ended, or never was there.

        Raises:
            TimeoutError: it was not found in this time.
            BrokerUnavailable: Redis is out of reach; it may or may not have been cancelled.
        """
        return self._wires.run(cancel_task(self._commands, self._config, str(id), within))

    async def acancel(self, id: str | int, within: float = 10.0) -> Cancelled:  # noqa: A002
        """`cancel`, to be awaited."""
        steps = cancel_task(self._commands, self._config, str(id), within)
        return await self._wires.run_async(steps)

    # -- connections -----------------------------------------------------------------------------

    @property
    def _wires(self) -> Wires:
        if self._connected.pid != os.getpid():  # forked: those belong to the parent
            self._connected = Wires(self._config)
        return self._connected

    def close(self) -> None:
        """Close the connections of threads; never raises."""
        self._wires.close()

    async def aclose(self) -> None:
        """Close those too, and the ones of this event loop; never raises."""
        await self._wires.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _config_of(
    url: str | None, key: str | None, path: str | Path | None, settings: Mapping[str, Any] | None
) -> Config:
    sections: dict[str, Any] = dict(settings or {})
    given = {"url": url, "key": key}
    for name, section, value in (("url", "redis", url), ("key", "queue", key)):
        if value is not None:
            sections[section] = {**sections.get(section, {}), name: value}
    env = {
        name: value for name, value in os.environ.items() if given.get(_NAMES.get(name, "")) is None
    }
    if path is None and url is None and settings is None and key is not None and _has_file():
        path = "config.yaml"
    framework = ("Queue", sections) if sections else None
    return load_config(Path(path) if path is not None else None, env=env, framework=framework)


def _one(command: Command[T]) -> Steps[T]:
    answer: T = yield command
    return answer


def _has_file() -> bool:
    return os.path.lexists("config.yaml")


def _slices(made: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    start, size = 0, 0
    for at, item in enumerate(made):
        if at > start and (at - start == SLICE_ITEMS or size + len(item) > SLICE_BYTES):
            yield made[start:at]
            start, size = at, 0
        size += len(item)
    if made:
        yield made[start:]


def _push_failed(
    error: BrokerUnavailable, total: int, pushed: Sequence[str], unsure: Sequence[str]
) -> PushFailed:
    if total == 1:
        text = "the task may or may not have been pushed, and is not sent again"
        text = text if unsure else "the task was not pushed"
    else:
        text = f"{len(pushed):,} of {total:,} tasks were pushed"
        if unsure:
            text += f"; the next {len(unsure):,} may or may not have been, and are not sent again"
    failed = PushFailed(f"{error}; {text}", pushed, unsure)
    failed.kind = error.kind
    return failed
