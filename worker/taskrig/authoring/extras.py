"""What handler modules may declare beside handlers: resources for them, and middleware."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from taskrig.authoring.context import Context
from taskrig.authoring.declared import declare, declared_in
from taskrig.errors import TaskrigError, describe
from taskrig.runtime.tracebacks import at_place

T = TypeVar("T")
STOP_S = 10.0  # how long one resource may take to close


class Resource(Generic[T]):
    """Something that handlers share while the worker runs, such as a pool of connections."""

    def __init__(self, function: Callable[[], AsyncIterator[T]]) -> None:
        self._function = function
        self.name = f"{function.__module__}.{function.__name__}"
        self._values: list[T] = []

    def get(self) -> T:
        """The resource; raises RuntimeError while no worker has opened it."""
        if not self._values:
            raise RuntimeError(f"{self.name} is open only while a worker runs")
        return self._values[-1]

    @contextlib.contextmanager
    def replaced_by(self, value: T) -> Iterator[T]:
        """Let `get` return `value`: for tests."""
        self._values.append(value)
        try:
            yield value
        finally:
            self._values.pop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open it; close it at the end, within a time limit."""
        manager: AbstractAsyncContextManager[T] = asynccontextmanager(self._function)()
        with self.replaced_by(await manager.__aenter__()):
            yield
        import asyncio  # here, since a health check imports this module and has no time for it

        async with asyncio.timeout(STOP_S):
            await manager.__aexit__(None, None, None)


def resource(function: Callable[[], AsyncIterator[T]]) -> Resource[T]:
    """Declare a resource: an async generator that opens, yields once, and closes.

    It is opened before the first task is claimed, in the order of declaration, and closed in the
    reverse order after the last one has been settled. An error at opening ends the worker.
    """
    made = Resource(function)
    declare(made, sys._getframe(1))
    return made


@asynccontextmanager
async def opened(
    resources: Iterable[Resource[Any]], say: Callable[[str], None]
) -> AsyncIterator[None]:
    """All of them, open. `say` is told what goes wrong when one is closed.

    Raises:
        TaskrigError: one does not open, and why.
    """
    async with AsyncExitStack() as stack:
        for one in resources:
            manager = one.opened()
            try:
                await manager.__aenter__()
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                    raise
                text = f"{one.name} does not open: {describe(error)}{at_place(error)}"
                raise TaskrigError(text) from error
            stack.push_async_callback(_close, manager, one.name, say)
        yield


def _is_cancelled() -> bool:
    """Whether somebody cancels the task that runs; else the resource itself has raised it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _close(
    manager: AbstractAsyncContextManager[None], name: str, say: Callable[[str], None]
) -> None:
    try:
        await manager.__aexit__(None, None, None)
    except Exception as error:  # the others are to be closed all the same
        say(f"{name} did not close well: {describe(error)}{at_place(error)}")


class Middleware(Protocol):
    """Runs around every handler: what it raises fails the task as if the handler had."""

    async def __call__(self, at: Context, call: Callable[[], Awaitable[None]]) -> None: ...


M = TypeVar("M", bound=Callable[..., Any])
_MARK = "__taskrig_middleware__"


def middleware(function: M) -> M:
    """Declare a coroutine function (context, call), or an object that is called as one, as
    middleware; it awaits `call()` once.

    The first one declared is the outermost.
    """
    setattr(function, _MARK, True)
    declare(function, sys._getframe(1))
    return function


def is_middleware(value: object) -> bool:
    """Whether @middleware was said of it, or of its class."""
    return callable(value) and not isinstance(value, type) and mark_of(value, _MARK) is True


def extras_of(module: ModuleType) -> Iterator[Any]:
    """The resources and middleware of a module, in their order; some may come twice.

    Those that were declared in it, whatever their names are, and those that it imports by name.
    """
    own = list(filter(_is_extra, declared_in(module)))
    for value in filter(_is_extra, list(vars(module).values())):
        while any(value is one for one in own):
            yield own.pop(0)
        yield value
    yield from own


def _is_extra(value: object) -> bool:
    return issubclass(type(value), Resource) or is_middleware(value)


def mark_of(value: object, name: str) -> Any:
    """What a decorator left at a value of a handler module; None where nothing is."""
    try:
        return getattr(value, name, None)
    except Exception:  # a stand-in, such as a web framework has for the request
        return None
