"""Database connections around handlers, as Django has them around requests.

A connection that broke, or is older than CONN_MAX_AGE, must not be met by the next task.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections

from taskrig.authoring.registry import Registry

EVERY_S = 1.0  # Django counts a connection's age in seconds; a hop to its thread is not free


def look_after_connections(registry: Registry) -> None:
    """Wrap every handler of `registry`."""
    keeper = _Keeper()
    for entry in registry.entries():
        wrap = _in_thread if entry.is_sync else keeper.in_loop
        entry.function = wrap(entry.function)


def _in_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function has a thread of its own, and leaves no connection behind in it."""

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        finally:
            connections.close_all()

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
