"""Named in a worker's `handlers`, gives its host a clock that is an hour fast."""

from __future__ import annotations

import time
from typing import Any

from taskrig import handler

_right = time.time

time.time = lambda: _right() + 3600


@handler("clock")
async def clock(data: Any) -> None:
    """A module of handlers must hold one."""
