"""Handlers that return something, or leave something behind."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from taskrig import Reject, context, handler

_FOLDER = Path(os.environ.get("TASKRIG_TEST_FOLDER", "."))


def _circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(900):
        value = [value]
    return value


ODD = {
    "nan": lambda: float("nan"),
    "circle": _circle,
    "object": object,
    "large": lambda: "x" * 70_000,
    "deep": _deep,
    "surrogate": lambda: "\ud800",
    "set": lambda: {1},
}


@handler("give")
async def give(data: Any) -> Any:
    """Returns its data."""
    return data


@handler("give_in_thread")
def give_in_thread(data: Any) -> Any:
    """Returns its data."""
    return data


@handler("give_in_process", run_in="process")
async def give_in_process(data: Any) -> Any:
    """Returns its data."""
    return data


@handler("odd")
async def odd(data: Any) -> Any:
    """Returns what is not JSON."""
    return ODD[data]()


@handler("odd_in_process", run_in="process")
def odd_in_process(data: Any) -> Any:
    """Returns what is not JSON."""
    return ODD[data]()


@handler("reject")
async def reject(data: Any) -> None:
    """Fails for good."""
    raise Reject(f"no {data}")


@handler("third_time", retries=2, backoff_s=0.01)
async def third_time(data: Any) -> int:
    """Succeeds at its third attempt."""
    if context().attempts < 3:
        raise ValueError("not yet")
    return context().attempts


@handler("gated", track=True, result_ttl_s=60)
async def gated(data: Any) -> Any:
    """Returns its data once the test opens the gate."""
    while not (_FOLDER / "open").exists():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return data


@handler("slow", timeout_s=0.1)
async def slow(data: Any) -> None:
    """Runs into its timeout."""
    await asyncio.sleep(60)


@handler("old", expires_s=0.001)
async def old(data: Any) -> None:
    """Expires."""


@handler("die")
async def die(data: Any) -> None:
    """Kills its worker."""
    time.sleep(0.05)  # noqa: ASYNC251
    os.kill(os.getpid(), 9)
