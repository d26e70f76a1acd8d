"""Which handler runs a task type and how: config.yaml goes before the decorator."""

from __future__ import annotations

from collections.abc import Mapping

from worker.config import TaskConfig
from worker.options import BACKOFF_MAX_S, BACKOFF_S, Options, backoff_s
from worker.registry import DEFAULT, Handler, Registry


class Plan:
    """What the executor needs to know of one task type; `label` is its name in metrics."""

    __slots__ = ("_backoff_max_s", "_backoff_s", "expires_s", "handler", "label", "retries",
                 "timeout_s")  # fmt: skip

    def __init__(self, handler: Handler, label: str, options: Options) -> None:
        self.handler = handler
        self.label = label
        self.timeout_s = options.timeout_s
        self.expires_s = options.expires_s
        self.retries = options.retries or 0
        self._backoff_s = BACKOFF_S if options.backoff_s is None else options.backoff_s
        most_s = options.backoff_max_s
        self._backoff_max_s = BACKOFF_MAX_S if most_s is None else most_s

    def pause_s(self, attempt: int) -> float:
        """How long to wait after failure number `attempt`, counted from 1; seconds."""
        return backoff_s(attempt, base_s=self._backoff_s, cap_s=self._backoff_max_s)


class Plans:
    """The plan of every task type, looked up by type."""

    def __init__(self, registry: Registry, tasks: Mapping[str, TaskConfig]) -> None:
        said = {name: Options(**task.model_dump()) for name, task in tasks.items()}
        self._by_type: dict[str, Plan] = {}
        for handler in registry.entries():
            options = said.get(handler.type, Options()).over(handler.options)
            self._by_type[handler.type] = Plan(handler, handler.label, options)
        self._default = self._by_type.get(DEFAULT)
        # A type of its own in the config is a label too, though the default handler runs it.
        for name, options in said.items():
            if name not in self._by_type and self._default is not None:
                handler = self._default.handler
                self._by_type[name] = Plan(handler, name, options.over(handler.options))

    def find(self, type: str) -> Plan | None:
        """The plan of `type`, else the default handler's, else None."""
        return self._by_type.get(type, self._default)
