"""Connections around handlers, as Django has them around requests.

A database connection that broke, or is older than CONN_MAX_AGE, must not be met by the next task.
One that is well is kept by its thread. Django keeps cache clients by context, and each task has a
context of its own: so each thread keeps the clients of tasks that have ended for those that begin.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.db import close_old_connections, connections

from taskrig.authoring.extras import Resource
from taskrig.authoring.registry import Registry

EVERY_S = 1.0  # Django counts a connection's age in seconds; a hop to its thread is not free


def look_after_connections(registry: Registry) -> None:
    """Wrap every handler of `registry`, and close what is open when threads and worker end."""
    keeper = _Keeper()
    for entry in registry.entries():
        wrap = _in_thread if entry.is_sync else keeper.in_loop
        entry.function = wrap(entry.function)
    registry.at_thread_end = _close_all
    _close_all()  # what modules of handlers have opened would be shared with forks
    registry.resources.insert(0, Resource(_closed_at_the_end))  # the last one to be closed


class _Clients(threading.local):
    """Of one thread: the cache clients that no task uses, by alias, of one task each."""

    def __init__(self) -> None:
        self.unused: list[dict[str, Any]] = []


_clients = _Clients()


@contextlib.contextmanager
def _cache_clients() -> Iterator[None]:
    """Let Django find the clients of a task that has ended, and keep them after this one."""
    unused = _clients.unused
    for alias, client in (unused.pop() if unused else {}).items():
        caches[alias] = client
    try:
        yield
    finally:
        made = caches._connections
        found = {alias: caches[alias] for alias in caches if hasattr(made, alias)}
        if found:
            unused.append(found)


def _close_all() -> None:
    """Close what this thread has open."""
    connections.close_all()
    for clients in _clients.unused:
        for client in clients.values():
            client.close()
    _clients.unused.clear()


async def _closed_at_the_end() -> AsyncIterator[None]:
    """A resource: the connections of coroutines, closed when the last task has been settled."""
    yield
    await sync_to_async(_close_all)()
    _close_all()


def _in_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a plain function, whose thread lives on with its connections."""

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        close_old_connections()
        try:
            with _cache_clients():
                return function(*arguments)
        finally:
            close_old_connections()

    return run


class _Keeper:
    """Coroutines share the one thread that asgiref gives to the ORM: look there."""

    def __init__(self) -> None:
        self._looked_at = 0.0

    def in_loop(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a coroutine function: look before it, and again when it failed."""

        @functools.wraps(function)
        async def run(*arguments: Any) -> Any:
            if time.monotonic() - self._looked_at >= EVERY_S:
                await self._look()
            try:
                with _cache_clients():
                    return await function(*arguments)
            except Exception as fault:
                failed, trace = fault, fault.__traceback__
            # Only now: asgiref would put frames of its own into an exception that is being handled.
            try:
                await self._look()
                raise BaseException.with_traceback(failed, trace)
            finally:
                del failed, trace  # a cycle, with this very frame

        return run

    async def _look(self) -> None:
        self._looked_at = time.monotonic()
        await sync_to_async(close_old_connections)()
