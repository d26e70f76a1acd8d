"""Waiting until something is true, with a limit; the tests never sleep to wait."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_EVERY_S = 0.01  # short against any deadline of a test, long against one look at Redis


def until(
    predicate: Callable[[], T], timeout_s: float = 10, what: str | Callable[[], str] = ""
) -> T:
    """Look again and again until `predicate()` is true; return what it returned.

    Raises:
        AssertionError: it did not become true within `timeout_s`; the message says `what` was
            awaited (a callable is asked only then) and what was seen last.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen = predicate()
        if seen:
            return seen
        if time.monotonic() >= deadline:
            raise AssertionError(_too_late(predicate, timeout_s, what, seen))
        time.sleep(_LOOK_EVERY_S)


async def until_async(
    predicate: Callable[[], T | Awaitable[T]],
    timeout_s: float = 10,
    what: str | Callable[[], str] = "",
) -> T:
    """As `until`, without holding the event loop; `predicate` may be a coroutine function."""
    deadline = time.monotonic() + timeout_s
    while True:
        looked = predicate()
        seen: T = await looked if inspect.isawaitable(looked) else looked
        if seen:
            return seen
        if time.monotonic() >= deadline:
            raise AssertionError(_too_late(predicate, timeout_s, what, seen))
        await asyncio.sleep(_LOOK_EVERY_S)


def _too_late(
    predicate: object, timeout_s: float, what: str | Callable[[], str], seen: object
) -> str:
    awaited = what() if callable(what) else what
    awaited = awaited or getattr(predicate, "__name__", repr(predicate))
    return f"not within {timeout_s:g} s: {awaited} (seen last: {seen!r})"
