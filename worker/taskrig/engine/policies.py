"""Which handler runs a task type and how: config.yaml goes before the decorator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from taskrig.authoring.options import (
    BACKOFF_MAX_S,
    BACKOFF_S,
    LINGER_S,
    LOOP,
    PROCESS,
    THREAD,
    Options,
    backoff_s,
    rate,
)
from taskrig.authoring.registry import DEFAULT, Handler, Registry
from taskrig.config.sections import Config, QueueConfig, ResultsConfig, TaskConfig
from taskrig.engine.groups import Groups
from taskrig.errors import UsageError
from taskrig.keys import type_name, type_of
from taskrig.metrics import TypeMetrics
from taskrig.task import MAX_ID_BYTES, Task

_PLACES = {place: place for place in (LOOP, THREAD, PROCESS)}  # so that `is` tells them apart
MAX_SLACK_US = 50_000  # starts of a limited rate are even to this
MAX_LATE_US = 250_000  # a handler may start so much later than Redis let it through
FEW = 20  # below so many in a period, a twentieth of them is none: one too many is too many


class Limits:
    """The limits of one task type; `running` is kept by the limiter.

    `name` is the type as it stands in keys, `here` the most that run in this worker (None: any),
    `total` in all workers (0: any). Two starts are `every_us` apart (0: no rate), but a late one
    lets the next come up to `slack_us` sooner. `late_us`: of a rate of few, how late a
    handler may start without one too many starting in the period (0: nobody looks).
    """

    __slots__ = ("every_us", "here", "late_us", "name", "running", "slack_us", "total", "unique")

    def __init__(self, task_type: str, options: Options) -> None:
        self.name = type_name(task_type)
        self.here = options.concurrency
        self.total = options.max_concurrent_total or 0
        self.unique = bool(options.unique)
        self.running = 0
        self.every_us = self.slack_us = self.late_us = 0.0
        if options.rate_limit is not None:
            self._set_rate(*rate(options.rate_limit))

    def _set_rate(self, count: int, period_s: float) -> None:
        """Starts that are `every` apart, sooner or later by at most `spare` together, are at most
        (period + spare) / every in any period, rounded up: that is to be at most 1.05 * count."""
        period_us = period_s * 1e6
        if count < FEW:
            self.late_us = min(period_us / 20, MAX_LATE_US)
            self.every_us = (period_us + self.late_us) / count
        else:
            self.every_us = period_us / count
            spare_us = (count // 20) * self.every_us
            self.slack_us = min(spare_us / 2, MAX_SLACK_US)  # the other half is the handlers'

    @property
    def any_number(self) -> bool:
        """Whether any number may run at once and start at any time: it is only unique."""
        return self.here is None and not self.total and not self.every_us

    @classmethod
    def of(cls, task_type: str, options: Options) -> Limits | None:
        """The limits that the options set; None when they set none."""
        o = options
        any_set = o.concurrency or o.max_concurrent_total or o.rate_limit or o.unique
        return cls(task_type, options) if any_set else None


class TaskPolicy:
    """How tasks of one type are run; `label` is its name in metrics, `numbers` its metrics.

    `options` are those that hold: the config's, else the decorator's.
    `limits` is None for a type without any: its tasks start as soon as they are claimed.
    `run_in` is LOOP, THREAD or PROCESS; `function` is what a thread calls. `batch` is the most
    tasks of one call, None for a handler that takes one task; `linger_s` how long one waits for
    more.
    """

    __slots__ = (
        *("batch", "expires_s", "function", "handler", "label"),
        *("limits", "numbers", "options", "retries", "run_in", "timeout_s", "track"),
    )

    def __init__(self, task_type: str, handler: Handler, label: str, options: Options) -> None:
        self.handler = handler
        self.label = label
        self.numbers = TypeMetrics()
        self.options = options
        self.limits = Limits.of(task_type, options)
        self.run_in = _PLACES[options.run_in or (THREAD if handler.is_sync else LOOP)]
        self.function = handler.function
        if self.run_in is THREAD and not handler.is_sync:
            self.function = partial(_run_in_its_own_loop, handler.function)
        self.timeout_s = options.timeout_s
        self.batch = options.batch if handler.options.batch is not None else None
        self.expires_s = options.expires_s
        self.retries = options.retries or 0
        self.track = bool(options.track)

    @property
    def linger_s(self) -> float:
        """How long the oldest task of a batch waits for more."""
        return LINGER_S if self.options.linger_s is None else self.options.linger_s

    def pause_s(self, attempt: int) -> float:
        """How long to wait after failure number `attempt`, counted from 1; seconds."""
        base_s, cap_s = self.options.backoff_s, self.options.backoff_max_s
        return backoff_s(
            attempt,
            base_s=BACKOFF_S if base_s is None else base_s,
            cap_s=BACKOFF_MAX_S if cap_s is None else cap_s,
        )


def _run_in_its_own_loop(function: Callable[..., Any], *arguments: Any) -> Any:
    async def awaited() -> Any:
        return await function(*arguments)

    return asyncio.run(awaited())


class Policies(dict[str, TaskPolicy]):
    """The policy of every task type; `find` falls back to the default handler's."""

    def __init__(
        self,
        registry: Registry,
        tasks: Mapping[str, TaskConfig],
        results: ResultsConfig = ResultsConfig(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.results = results
        self.queue, self.lists = "", frozenset[str]()  # the list that follow-ups go to, and others
        self.max_item_bytes = QueueConfig().max_item_bytes
        self.kept_any = False  # whether a task left something behind, ever
        self.groups = Groups()
        configured = {name: Options(**task.model_dump()) for name, task in tasks.items()}
        for handler in registry.entries():
            options = configured.get(handler.type, Options()).over(handler.options)
            self[handler.type] = TaskPolicy(handler.type, handler, handler.label, options)
        self.default = self.get(DEFAULT)
        # A type of its own in the config is a label too, though the default handler runs it.
        for name, options in configured.items():
            if name not in self and self.default is not None:
                handler = self.default.handler
                self[name] = TaskPolicy(name, handler, name, options.over(handler.options))

    @classmethod
    def of(cls, registry: Registry, config: Config) -> Policies:
        """The policies of a worker with this config."""
        policies, queue = cls(registry, config.tasks, config.results), config.queue
        policies.queue, policies.lists = queue.key, frozenset(queue.sources)
        policies.max_item_bytes = queue.max_item_bytes
        return policies

    def find(self, task_type: str) -> TaskPolicy | None:
        """The policy of `type`, else the default handler's, else None."""
        return self.get(task_type, self.default)

    def result_ttl_s(self, task: Task) -> float:
        """For how long the result of a task is kept, in seconds; 0: it is not."""
        if task.id is None or len(task.id.encode()) > MAX_ID_BYTES:
            return 0.0
        if task.asks is not None and task.asks.result_ttl_s is not None:
            ttl_s = min(task.asks.result_ttl_s, self.results.max_ttl_s)
        else:
            policy = self.find(task.type)
            ttl_s = (policy.options.result_ttl_s or 0.0) if policy is not None else 0.0
        self.kept_any = self.kept_any or ttl_s > 0
        return ttl_s

    def held_names(self) -> dict[str, str]:
        """Of types whose limits may hold tasks back: label in metrics -> name in keys."""
        return {
            policy.label: policy.limits.name
            for policy in self.values()
            if policy.limits is not None and not policy.limits.any_number
        }

    def lets_go(self, name: str) -> bool:
        """Whether a type, by its name in keys, has a handler here and nothing to hold it."""
        policy = self.find(type_of(name))
        return policy is not None and (policy.limits is None or policy.limits.name != name)

    def in_processes(self) -> list[TaskPolicy]:
        """The policies of types that run in processes.

        Raises:
            UsageError: a type has settings of processes and runs elsewhere.
        """
        for name, policy in self.items():
            options = policy.options
            if policy.run_in is not PROCESS and (options.memory or options.max_tasks_per_process):
                raise UsageError(
                    f"tasks.{name}: memory and max_tasks_per_process are for handlers with "
                    f"run_in: process, and {policy.handler.name} runs in the {policy.run_in}"
                )
        return [policy for policy in self.values() if policy.run_in is PROCESS]

    def batched(self) -> list[TaskPolicy]:
        """The policies of types whose handlers take batches.

        Raises:
            UsageError: a type has settings of batches, and its handler takes one task.
        """
        for name, policy in self.items():
            options = policy.options
            if policy.batch is None and (options.batch is not None or options.linger_s is not None):
                raise UsageError(
                    f"tasks.{name}: batch and linger are for handlers that take a list, declared "
                    f"with @handler(..., batch=...); {policy.handler.name} takes one task"
                )
        return [policy for policy in self.values() if policy.batch is not None]

    def limited(self) -> list[TaskPolicy]:
        """The policies of types that have limits."""
        return [policy for policy in self.values() if policy.limits is not None]
