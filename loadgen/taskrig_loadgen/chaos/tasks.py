"""What the workers of `loadgen chaos` run: named in their config as one function for every type."""

from __future__ import annotations

import asyncio
import random
from typing import Any

SHORT_S = (0.005, 0.1)
LONG_S = (0.5, 1.5)


async def handle(task_type: str, data: Any) -> None:
    """`quick` ends at once, `short` within 0.1 s, `long` takes about a second."""
    if task_type == "short":
        await asyncio.sleep(random.uniform(*SHORT_S))
    elif task_type == "long":
        await asyncio.sleep(random.uniform(*LONG_S))
