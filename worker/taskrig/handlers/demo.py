"""The demo types, for trying things out: they wait, as a handler does that awaits a service."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from taskrig import handler
from taskrig.runtime.once import Once

log = logging.getLogger("taskrig.handlers")

_said = Once()


@handler("fast_task")
async def fast_task(data: Any) -> None:
    """Take half a second."""
    await asyncio.sleep(0.5)


@handler("medium_task")
async def medium_task(data: Any) -> None:
    """Take one second."""
    await asyncio.sleep(1)


@handler("slow_task")
async def slow_task(data: Any) -> None:
    """Take two seconds."""
    await asyncio.sleep(2)


@handler("noop")
async def noop(data: Any) -> None:
    """Do nothing; for benchmarks."""


@handler("*")
async def unknown_type(task_type: str, data: Any) -> None:
    """Take every type that no other handler takes, and do nothing: only for the demo."""
    ending = _said.says(task_type)
    if ending is not None:
        log.warning(
            "type %.100r: nothing was done, this is the demo's handler for unknown types; "
            "with handlers of your own such a task is a dead letter (%s)",
            task_type,
            ending,
        )
