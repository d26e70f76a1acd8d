"""The plainest handler: what remains of a task's way is ours."""

from __future__ import annotations

from typing import Any

from taskrig import handler


@handler("plain")
async def plain(data: Any) -> None:
    """Do nothing."""
