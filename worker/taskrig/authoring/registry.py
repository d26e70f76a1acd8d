"""Handlers: how one is declared, found, and looked up by type."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from taskrig.authoring import calling
from taskrig.authoring.declared import all_declared, declare, declared_in, place_of
from taskrig.authoring.extras import Middleware, Resource, extras_of, mark_of
from taskrig.authoring.importing import imported
from taskrig.authoring.options import Options, memory_bytes
from taskrig.errors import UsageError

if TYPE_CHECKING:
    from taskrig.task import Task

DEFAULT = "*"  # the type of the handler for types that no other handler takes
MOST_FAULTS = 20  # said at once
UNKNOWN = "unknown"  # what such types are called in metrics: never text from a payload

F = TypeVar("F", bound=Callable[..., Any])


class Handler:
    """One handler: the function, its type, and how it is run.

    `takes` says what the function is called with: `calling.DATA`, `TASK`, `TYPE_AND_DATA` or
    `TASKS`.
    `place` is the file and line that declare it. `dry_run` says why its tasks have no effect, in
    words; "" for the usual handler, which does something.
    """

    __slots__ = (
        *("dry_run", "function", "is_sync", "label", "module", "name", "options", "place"),
        *("takes", "takes_data", "type"),
    )

    def __init__(
        self, task_type: str, function: Callable[..., Any], options: Options, place: str = "?"
    ) -> None:
        self.type = task_type
        self.function = function
        self.options = options
        self.place = place
        self.module, self.name = calling.names_of(function)
        self.is_sync = not calling.is_async(function)
        self.label = UNKNOWN if task_type == DEFAULT else task_type
        self.takes = calling.takes_of(function, every_type=task_type == DEFAULT)
        if options.batch is not None:
            self.takes = calling.TASKS
        self.takes_data = self.takes == calling.DATA
        self.dry_run = ""

    @property
    def is_test(self) -> bool:
        """Whether its tasks may be pushed for a test: the demo's, and dry runs, have no effect."""
        return bool(self.dry_run) or self.module == "taskrig.handlers.demo"

    def arguments(self, task: Task) -> tuple[Any, ...]:
        """What its function is called with."""
        if self.takes_data:
            return (task.data,)
        if self.takes == calling.TASKS:
            return ([task],)
        return (task.fields,) if self.takes == calling.TASK else (task.type, task.data)

    def standing(self) -> Handler:
        """The same with the function that is called: a decorator above @handler counts."""
        function = calling.what_stands_for(self.function)
        return Handler(self.type, function, self.options, self.place)

    def fault(self) -> str | None:
        """Why its function cannot be called, in one line; None when it can."""
        why = calling.fault_of(self.function, self.takes)
        place = calling.place_of(self.function) or self.place
        types = "every type" if self.type == DEFAULT else repr(self.type)
        return why and f"{place}: {self.name}, the handler of {types}, {why}"


_MARK = "__taskrig_handlers__"
_unmarked: list[Handler] = []  # of what takes no mark


def handler(
    type: str,  # noqa: A002 - public
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
    run_in: Literal["thread", "process"] | None = None,
    memory: int | str | None = None,
    max_tasks_per_process: int | None = None,
    batch: int | None = None,
    linger_s: float | None = None,
    result_ttl_s: float | None = None,
    track: bool | None = None,
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
        run_in: "thread" or "process", for what computes or blocks; a coroutine function gets an
            event loop of its own there. A process ends at the timeout, whatever it does.
        memory: the most that its process may have, in bytes or as text: "512MiB".
        max_tasks_per_process: a process that has run so many tasks is replaced.
        batch: call the function with a list of up to this number of tasks, of which each succeeds
            or fails on its own (see BatchFailed).
        linger_s: how long the oldest of them waits for more, in seconds (0.05).
        result_ttl_s: how long the result of a task with an `id` is kept, in seconds; not at all by
            default.
        track: whether the state of a task with an `id` is kept until it has ended.

    `tasks.<type>` in config.yaml goes before each of them.

    The function takes the task's `data` (any JSON value); that of `"*"` takes the whole task as a
    dict or, with two parameters, type and data; one with `batch` takes a list of Task. A coroutine
    function runs in the event loop, a plain function in a thread, unless `run_in` says otherwise.
    What it returns is the task's result, where one is kept; what it raises fails the task.

    Raises:
        ValueError: the type or an option cannot be.
    """
    _refuse_type(type)
    options = Options(
        timeout_s=timeout_s,
        retries=retries,
        backoff_s=backoff_s,
        backoff_max_s=backoff_max_s,
        expires_s=expires_s,
        concurrency=concurrency,
        max_concurrent_total=max_concurrent_total,
        rate_limit=rate_limit,
        unique=unique,
        run_in=run_in,
        memory=memory_bytes(memory),
        max_tasks_per_process=max_tasks_per_process,
        batch=batch,
        linger_s=linger_s,
        result_ttl_s=result_ttl_s,
        track=track,
    )
    _refuse_batch(type, options)

    return _decorator(type, options)


def _decorator(task_type: str, options: Options) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        if calling.yields(function):
            raise ValueError(f"the handler of {task_type!r} must not yield: none of it would run")
        frame = sys._getframe(1)
        entry = Handler(task_type, function, options, place_of(frame))
        declare(entry, frame)
        try:
            setattr(function, _MARK, (*_marks(function), entry))
        except (AttributeError, TypeError):  # a bound method, for one
            _unmarked.append(entry)
        return function

    return decorate


def _refuse_type(task_type: object) -> None:
    if callable(task_type):
        raise ValueError('write @handler("type"), with the type of the tasks that it takes')
    if not isinstance(task_type, str) or not 1 <= len(task_type.encode()) <= 256:
        raise ValueError(f"a handler's type is a string of 1 to 256 bytes, got {task_type!r}")


def _refuse_batch(task_type: str, options: Options) -> None:
    if options.batch is not None and task_type == DEFAULT:
        raise ValueError('batch needs a type of its own: the tasks of "*" are of many types')
    if options.linger_s is not None and options.batch is None:
        raise ValueError(f"linger_s is for handlers with batch; the one of {task_type!r} has none")


def handlers_of(function: Callable[..., Any]) -> tuple[Handler, ...]:
    """What @handler said of a function; empty when it was not decorated."""
    return _marks(function) or tuple(one for one in _unmarked if one.function == function)


def _marks(value: Any) -> tuple[Handler, ...]:
    marks = mark_of(value, _MARK)
    return marks if type(marks) is tuple else ()


class Registry:
    """The handlers of one worker, looked up by type."""

    def __init__(self) -> None:
        self._by_type: dict[str, Handler] = {}
        self._default: Handler | None = None
        self.resources: list[Resource[Any]] = []
        self.middleware: list[Middleware] = []
        # Called in each kept thread of plain functions, and each process, before that ends.
        self.at_thread_end: Callable[[], None] | None = None
        # Declared in modules that are imported, but that the config does not name.
        self.not_served: dict[str, Handler] = {}

    def add(self, entry: Handler) -> None:
        """Add a handler; raises UsageError when it cannot be called, or another has its type."""
        fault = entry.fault()
        if fault is not None:
            raise UsageError(f"handlers: {fault}")
        other = self._by_type.get(entry.type)
        if other is not None:
            raise UsageError(
                f"handlers: two for type {entry.type!r}: {other.name} ({other.place}) and "
                f"{entry.name} ({entry.place}); rename or remove one of them"
            )
        self._by_type[entry.type] = entry
        if entry.type == DEFAULT:
            self._default = entry

    def find(self, task_type: str) -> Handler | None:
        """The handler of `type`, else the default one, else None."""
        return self._by_type.get(task_type) or self._default

    def entries(self) -> list[Handler]:
        """All handlers, by type."""
        return sorted(self._by_type.values(), key=lambda entry: entry.type)

    def dry_runs(self) -> list[Handler]:
        """Those whose tasks have no effect, by type."""
        return [entry for entry in self.entries() if entry.dry_run]

    def hint(self, task_type: str) -> str:
        """What may help whoever wonders why a type has no handler; may be empty."""
        entry = self.not_served.get(task_type)
        if entry is not None:
            return f"; {entry.name} ({entry.place}) does, but handlers does not name its module"
        near = difflib.get_close_matches(task_type, self._by_type, 1, 0.6)
        return f"; did you mean {near[0]}?" if near else ""


def load_handlers(names: Sequence[str], config: object = None) -> Registry:
    """Import what the config names and collect the handlers.

    A name is a module, a package (all modules in it too), or `package.module:function`, which takes
    every task. A handler counts when its decorator ran in such a module, or when the module imports
    its function by name. The demo's handler for unknown types does nothing, so it serves only where
    all handlers are Taskrig's own.

    Raises:
        UsageError: a name does not import, holds no handler, a handler cannot be called with a
            task, or a type is taken twice; a line for each.
    """
    registry = Registry()
    loaded = [(name, _modules(name)) for name in dict.fromkeys(names)]
    found: list[Handler] = []
    for name, modules in loaded:
        extras = [one for module in modules for one in extras_of(module)]
        handlers = _function(name, modules[0]) if ":" in name else _declared(modules)
        if not handlers and not extras:
            raise UsageError(
                f"handlers: {name!r} has no handler; decorate a function with "
                '@handler("type") or name one as "package.module:function"'
            )
        found.extend(handlers)
        _take_extras(registry, extras)
    found = list({id(entry): entry for entry in found}.values())
    others = (entry for entry in all_declared(Handler) if entry not in found)
    registry.not_served = {entry.type: entry for entry in others if not _is_ours(entry)}
    _add_all(registry, found)
    if config is not None:
        _configure(registry, config)
    return registry


def _add_all(registry: Registry, found: Sequence[Handler]) -> None:
    faults = []
    own = any(not _is_ours(entry) for entry in found)
    for entry in found:
        if own and entry.type == DEFAULT and _is_ours(entry):
            continue
        try:
            registry.add(entry.standing())
        except UsageError as fault:
            faults.append(str(fault))
    if faults:
        raise UsageError("\n".join(faults[:MOST_FAULTS]))


def _is_ours(entry: Handler) -> bool:
    return f"{entry.module}.".startswith("taskrig.handlers.")


def _configure(registry: Registry, config: object) -> None:
    """Tell Taskrig's own handlers the configuration.

    Their module's `configure` raises UsageError when it cannot work with it, and touches nothing
    yet. It returns why its handlers make a dry run, where they do.
    """
    said: dict[str, str] = {}
    for entry in filter(_is_ours, registry.entries()):
        configure = getattr(sys.modules[entry.module], "configure", None)
        if configure is not None:
            if entry.module not in said:
                said[entry.module] = configure(config)
            entry.dry_run = said[entry.module]


def _function(name: str, module: ModuleType) -> list[Handler]:
    attribute = name.partition(":")[2]
    if not hasattr(module, attribute):
        functions = [n for n, v in vars(module).items() if inspect.isfunction(v)]
        known = ", ".join(sorted(functions)[:8])
        raise UsageError(
            f"handlers: {name!r}: module {module.__name__!r} has no function {attribute!r}"
            + (f" (it has {known})" if known else "")
        )
    function = getattr(module, attribute)
    declared = handlers_of(function)
    defaults = [entry for entry in declared if entry.type == DEFAULT]
    if declared and not defaults:
        raise UsageError(
            f"handlers: {name!r} is the handler of {declared[0].type!r} "
            f"({declared[0].place}); name its module: {module.__name__}"
        )
    return defaults or [Handler(DEFAULT, function, Options(), calling.place_in(module, attribute))]


def _modules(name: str) -> list[ModuleType]:
    """The module that a name of the config leads to, and those in it where it is a package."""
    if ":" in name:
        return [imported(name.partition(":")[0], name)]
    module = imported(name, name)
    if not hasattr(module, "__path__"):
        return [module]
    modules = [module, *_submodules(module, name)]
    below = [m for n, m in list(sys.modules.items()) if n.startswith(f"{name}.")]
    return list(dict.fromkeys([*modules, *(m for m in below if isinstance(m, ModuleType))]))


def _submodules(package: ModuleType, name: str) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(package.__path__):
        if not found.name.startswith("_"):
            module = imported(f"{package.__name__}.{found.name}", name)
            yield module
            if found.ispkg:
                yield from _submodules(module, name)


def _take_extras(registry: Registry, extras: Iterable[Any]) -> None:
    for value in extras:
        if isinstance(value, Resource):
            if value not in registry.resources:
                registry.resources.append(value)
        elif not any(value is one for one in registry.middleware):
            registry.middleware.append(value)


def _declared(modules: Iterable[ModuleType]) -> list[Handler]:
    handlers: list[Handler] = []
    of_now = set(all_declared(Handler))  # not those that a module left behind as it was reloaded
    for module in modules:
        handlers.extend(one for one in declared_in(module) if isinstance(one, Handler))
        for value in list(vars(module).values()):  # imported by name from elsewhere
            handlers.extend(of_now.intersection(_marks(value)))
    return handlers
