"""Handlers as a user adds them, beside config.yaml, for the tests in containers."""

from __future__ import annotations

import asyncio
from typing import Any

from taskrig import handler


@handler("wait")
async def wait(data: dict[str, Any]) -> None:
    """Take as many seconds as the task says."""
    await asyncio.sleep(data["seconds"])


@handler("always_fails")
async def always_fails(data: Any) -> None:
    """Fail each time."""
    raise RuntimeError("as always")


@handler("one_at_a_time", max_concurrent_total=1)
async def one_at_a_time(data: Any) -> None:
    """Have a limit, so that what it holds back is shown."""


@handler("in_a_batch", batch=10)
async def in_a_batch(tasks: list[Any]) -> None:
    """So that the metrics of batches have values."""


@handler("in_a_process", run_in="process")
def in_a_process(data: Any) -> None:
    """Run in a process of its own, so that its series are there."""
