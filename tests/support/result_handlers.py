"""Handlers that return something, or leave something behind."""

from __future__ import annotations

import asyncio
import json
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


def _note(entry: Any) -> None:
    with (_FOLDER / "noted").open("a") as notes:
        notes.write(json.dumps(entry) + "\n")


@handler("note")
async def note(data: Any) -> None:
    """Notes its data, its id and what it follows."""
    at = context()
    _note({"data": data, "id": at.task.id, "parent": at.parent, "task": at.task.fields})


def _fan_out(data: dict[str, Any]) -> str:
    for number in range(data["n"]):
        context().enqueue("note", {"n": number}, **data.get("with", {}))
    if data.get("die") and not (_FOLDER / "died").exists():
        (_FOLDER / "died").touch()
        os.kill(os.getpid(), 9)
    if data.get("fail"):
        raise ValueError("it fails in the end")
    return "done"


@handler("fan_out")
async def fan_out(data: dict[str, Any]) -> str:
    """Enqueues `n` tasks, and dies once or fails where it is told so."""
    return _fan_out(data)


@handler("fan_out_in_thread")
def fan_out_in_thread(data: dict[str, Any]) -> str:
    """The same in a thread."""
    return _fan_out(data)


@handler("fan_out_in_process", run_in="process")
def fan_out_in_process(data: dict[str, Any]) -> str:
    """The same in a process."""
    return _fan_out(data)


@handler("once_more", unique=True)
async def once_more(data: int) -> None:
    """Enqueues itself, with its own id, until its data is 0."""
    _note(data)
    if data:
        context().enqueue("once_more", data - 1, id=context().task.id)


@handler("die")
async def die(data: Any) -> None:
    """Kills its worker."""
    time.sleep(0.05)  # noqa: ASYNC251
    os.kill(os.getpid(), 9)
