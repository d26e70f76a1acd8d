"""Handlers of short, known service times, for tests that compare a real worker with theory."""

from __future__ import annotations

import asyncio
from typing import Any

from taskrig import handler


@handler("ms5")
async def ms5(data: Any) -> None:
    """Take 5 ms."""
    await asyncio.sleep(0.005)


@handler("ms10")
async def ms10(data: Any) -> None:
    """Take 10 ms."""
    await asyncio.sleep(0.010)


@handler("ms20")
async def ms20(data: Any) -> None:
    """Take 20 ms."""
    await asyncio.sleep(0.020)
