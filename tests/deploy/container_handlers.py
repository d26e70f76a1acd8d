"""A handler as a user adds one, beside config.yaml, for the tests in containers."""

from __future__ import annotations

import asyncio
from typing import Any

from worker import handler


@handler("three_seconds")
async def three_seconds(data: Any) -> None:
    """Long enough to be stopped in its middle."""
    await asyncio.sleep(3)
