"""Mail. For now it says what it would send."""

from __future__ import annotations

import logging
from typing import Any

from worker import handler

log = logging.getLogger("worker.handlers")


@handler("email", timeout_s=30)
async def email(data: Any) -> None:
    """Say what would be sent."""
    fields = data if isinstance(data, dict) else {}
    log.info("would send mail to %.100r, subject %.100r", fields.get("to"), fields.get("subject"))
