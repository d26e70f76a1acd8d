"""A handler that fails, so that the pictures of the docs show failures too."""

from __future__ import annotations

from typing import Any

from taskrig import handler


@handler("charge")
async def charge(data: dict[str, Any]) -> None:
    """Always fails."""
    raise ConnectionError(f"the bank does not answer (order {data['order']})")
