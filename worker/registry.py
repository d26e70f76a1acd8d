"""Handlers: how one is declared, found, and looked up by type."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from worker.errors import UsageError
from worker.extras import Middleware, Resource, is_middleware, mark_of
from worker.options import Options

DEFAULT = "*"  # the type of the handler for types that no other handler takes
UNKNOWN = "unknown"  # what such types are called in metrics: never text from a payload

F = TypeVar("F", bound=Callable[..., Any])


class Handler:
    """One handler: the function, its type, and how it is run.

    `takes_type` is true for default handlers with two parameters: (type, data).
    """

    __slots__ = ("function", "is_sync", "label", "module", "options", "takes_type", "type")

    def __init__(self, type: str, function: Callable[..., Any], options: Options) -> None:
        self.type = type
        self.function = function
        self.options = options
        self.module = f"{function.__module__}.{getattr(function, '__qualname__', '?')}"
        self.is_sync = not _is_async(function)
        self.label = UNKNOWN if type == DEFAULT else type
        self.takes_type = type == DEFAULT and _parameters(function) == 2


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an instance with async __call__
    )


def _yields(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _parameters(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters)


_MARK = "__taskrig_handlers__"


def handler(
    type: str,
    *,
    timeout_s: float | None = None,
    retries: int | None = None,
    backoff_s: float | None = None,
    backoff_max_s: float | None = None,
    expires_s: float | None = None,
    concurrency: int | None = None,
    max_concurrent_total: int | None = None,
    rate_limit: str | None = None,
    unique: bool | None = None,
) -> Callable[[F], F]:
    """Declare a function as the handler of a task type (`"*"`: of every type without one).

    Args:
        type: 1 to 256 bytes, as it stands in the tasks.
        timeout_s: the longest a run may take, in seconds; None for no limit.
        retries: how often a task is tried again after it failed; none by default.
        backoff_s: upper bound of the first wait before that, in seconds (1); it doubles, and the
            wait is drawn evenly between 0 and the bound.
        backoff_max_s: upper bound of any such wait, in seconds (300).
        expires_s: a task that has waited longer, in seconds, is a dead letter and does not run.
        concurrency: how many tasks of this type run at once in one worker.
        max_concurrent_total: how many run at once in all workers.
        rate_limit: how many start in all workers: "100/s", "5/10s", "600/m".
        unique: while a task waits or runs, others of this type with the same `id` are dead letters.

    `tasks.<type>` in config.yaml goes before each of them.

    The function takes the task's `data` (any JSON value). A coroutine function runs in the event
    loop, a plain function in a thread. What it returns is ignored; what it raises fails the task.

    Raises:
        ValueError: the type or an option cannot be.
    """
    if not isinstance(type, str) or not 1 <= len(type.encode()) <= 256:
        raise ValueError(f"a handler's type is a string of 1 to 256 bytes, got {type!r}")
    options = Options(
        timeout_s=timeout_s, retries=retries, backoff_s=backoff_s, backoff_max_s=backoff_max_s,
        expires_s=expires_s, concurrency=concurrency, max_concurrent_total=max_concurrent_total,
        rate_limit=rate_limit, unique=unique,
    )  # fmt: skip

    def declare(function: F) -> F:
        if _yields(function):
            raise ValueError(f"the handler of {type!r} must not yield: none of it would run")
        marks = getattr(function, _MARK, ())
        setattr(function, _MARK, (*marks, Handler(type, function, options)))
        return function

    return declare


def handlers_of(function: Callable[..., Any]) -> tuple[Handler, ...]:
    """What @handler said of a function; empty when it is none."""
    found: tuple[Handler, ...] = getattr(function, _MARK, ())
    return found


class Registry:
    """The handlers of one worker, looked up by type."""

    def __init__(self) -> None:
        self._by_type: dict[str, Handler] = {}
        self._default: Handler | None = None
        self.resources: list[Resource[Any]] = []
        self.middleware: list[Middleware] = []

    def add(self, entry: Handler) -> None:
        """Add a handler; raises UsageError when another one has its type."""
        other = self._by_type.get(entry.type)
        if other is not None and other.function is not entry.function:
            raise UsageError(
                f"two handlers for type {entry.type!r}: {other.module} and {entry.module}; "
                "rename one of them"
            )
        self._by_type[entry.type] = entry
        if entry.type == DEFAULT:
            self._default = entry

    def find(self, type: str) -> Handler | None:
        """The handler of `type`, else the default one, else None."""
        return self._by_type.get(type) or self._default

    def entries(self) -> list[Handler]:
        """All handlers, by type."""
        return sorted(self._by_type.values(), key=lambda entry: entry.type)


def load_handlers(names: Sequence[str], config: object = None) -> Registry:
    """Import what the config names and collect the handlers.

    A module that defines `configure(config)` is told the configuration once; it raises
    UsageError when it cannot work with it, and touches nothing yet.

    A name is a module, a package (its modules too), or `package.module:function`, which takes
    every task. When user modules define no default handler, the built-in one stays.

    Raises:
        UsageError: a name does not import, holds no handler, or a type is taken twice.
    """
    registry = Registry()
    for name in names:
        before = len(registry.resources) + len(registry.middleware)
        modules = _modules(name)
        found = _function(name) if ":" in name else _declared(modules)
        _take_extras(registry, modules)
        if not found and before == len(registry.resources) + len(registry.middleware):
            raise UsageError(
                f"handlers: {name!r} has no handler; decorate a function with "
                '@handler("type") or name one as "package.module:function"'
            )
        for entry in found:
            registry.add(entry)
    if config is not None:
        for module in dict.fromkeys(e.function.__module__ for e in registry.entries()):
            _configure(module, config)
    return registry


def _configure(module: str, config: object) -> None:
    configure = getattr(sys.modules.get(module), "configure", None)
    if not inspect.isfunction(configure) or configure.__module__ != module:
        return
    try:
        configure(config)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"handlers: {module}.configure failed: {type(error).__name__}: {error}"
        ) from error


def _function(name: str) -> list[Handler]:
    module_name, _, attribute = name.partition(":")
    module = _import(module_name, name)
    function = getattr(module, attribute, None) if attribute.isidentifier() else None
    if not callable(function):
        known = ", ".join(sorted(n for n, v in vars(module).items() if inspect.isfunction(v))[:8])
        raise UsageError(
            f"handlers: {name!r}: module {module_name!r} has no function {attribute!r}"
            + (f" (it has {known})" if known else "")
        )
    if _yields(function):
        raise UsageError(f"handlers: {name!r} must not yield: none of it would run")
    return [Handler(DEFAULT, function, Options())]


def _modules(name: str) -> list[Any]:
    """The module that a name of the config leads to, and those in it where it is a package."""
    if ":" in name:
        return [_import(name.partition(":")[0], name)]
    modules = [_import(name, name)]
    for found in pkgutil.iter_modules(getattr(modules[0], "__path__", ())):
        if not found.name.startswith("_"):
            modules.append(_import(f"{name}.{found.name}", name))
    return modules


def _take_extras(registry: Registry, modules: list[Any]) -> None:
    for value in (value for module in modules for value in vars(module).values()):
        if isinstance(value, Resource) and value not in registry.resources:
            registry.resources.append(value)
        elif is_middleware(value) and value not in registry.middleware:
            registry.middleware.append(value)


def _declared(modules: list[Any]) -> list[Handler]:
    handlers: list[Handler] = []
    seen: set[int] = set()
    for module in modules:
        for value in vars(module).values():
            marks = mark_of(value, _MARK)
            if isinstance(marks, tuple) and id(value) not in seen:
                seen.add(id(value))
                handlers.extend(marks)
    return handlers


def _import(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and (module == absent or module.startswith(f"{absent}.")):
            hint = "no such module beside the config file or on the import path"
        else:
            hint = f"it does not import: {type(error).__name__}: {error}"
        raise UsageError(f"handlers: {name!r}: {hint}") from error
