"""Named among the handlers, it makes a parent of processes kill them earlier than it should."""

from __future__ import annotations

from typing import Any

from taskrig import handler
from taskrig.process import supervisor

supervisor.END_LATE_S = 0.5


@handler("nothing")
async def nothing(data: Any) -> None:
    """A module of handlers must have one."""
