"""What a handler or a middleware began, and nobody would wait for: its task must not succeed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

Call = Callable[[], Awaitable[None]]

_NAMES: dict[type, str] = {
    CoroutineType: "a coroutine",
    GeneratorType: "a generator",
    AsyncGeneratorType: "an async generator",
    concurrent.futures.Future: "a future",
}


def refuse_unfinished(result: Any) -> None:
    """Raises TypeError: what a handler returned has yet to run."""
    kind = type(result)
    if not issubclass(kind, tuple(_NAMES)) and not hasattr(kind, "__await__"):
        return
    with contextlib.suppress(Exception):  # none of it is to run after its task has failed
        (result.close if kind is CoroutineType else result.cancel)()
    raise TypeError(
        f"the handler returned {_NAMES.get(kind, 'an awaitable')}, which nobody would wait for: "
        "await it in the handler, or declare async def what wraps it"
    )


class Calls:
    """The calls of one run that middleware makes, each of which it is to await."""

    def __init__(self) -> None:
        self._made: list[Awaitable[None]] = []

    def noted(self, function: Call) -> Call:
        """The function, with its calls noted."""

        def call() -> Awaitable[None]:
            self._made.append(function())
            return self._made[-1]

        return call

    def refuse_unawaited(self) -> None:
        """Raises TypeError: one was made and has not begun, so the handler has not run."""
        for made in self._made:
            if type(made) is CoroutineType and inspect.getcoroutinestate(made) == "CORO_CREATED":
                made.close()
                raise TypeError("a middleware called the handler and did not await the call")
