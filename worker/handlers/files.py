"""Files. For now it says what it would do."""

from __future__ import annotations

import logging
from typing import Any

from worker import handler

log = logging.getLogger("worker.handlers")


@handler("file_process", timeout_s=300)
async def file_process(data: Any) -> None:
    """Say which file would be worked on."""
    fields = data if isinstance(data, dict) else {}
    log.info(
        "would work on file %.100r, operation %.40r", fields.get("path"), fields.get("operation")
    )
