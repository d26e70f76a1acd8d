"""A resource, middleware and a handler that says what it sees of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from taskrig import handler, middleware, resource
from tests.support.said import say


@resource
async def pool() -> AsyncIterator[str]:
    """Says when it opens and closes."""
    say(event="open")
    yield "the pool"
    say(event="close")


@middleware
async def around(at: Any, call: Any) -> None:
    """Says that it was there."""
    say(event=f"around {at.type}")
    await call()


@handler("uses_pool")
async def uses_pool(data: Any) -> None:
    """Says which pool it has."""
    say(event=pool.get())
