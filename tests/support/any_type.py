"""One default handler for every type."""

from __future__ import annotations

import asyncio
from typing import Any

from taskrig import handler
from tests.support.said import say


@handler("*")
async def any_type(type_: str, data: dict[str, Any]) -> None:
    """Says when it starts and ends, and takes `s` seconds."""
    say(id=data["id"], event="start")
    await asyncio.sleep(data["s"])
    say(id=data["id"], event="end")
