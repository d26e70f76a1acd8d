"""Handlers that tests hand to real workers; what they do is written to the world's journal.

The journal is a file that all workers of a test append to (one short line each, so appends do
not mix). Times are CLOCK_MONOTONIC, which the processes of one machine share.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from taskrig import Reject, handler
from tests.support.hostile_exceptions import FAULTS

_FOLDER = Path(os.environ.get("TASKRIG_TEST_FOLDER", "."))
_running = 0


def _note(event: str, data: dict[str, Any]) -> None:
    line = {"event": event, "id": data.get("id"), "at": time.monotonic(), "pid": os.getpid()}
    line["running"] = _running
    with (_FOLDER / "journal").open("a") as journal:
        journal.write(json.dumps(line) + "\n")


class _Noted:
    """Notes the start and the end of one run, and how many run now in this worker."""

    def __init__(self, data: Any) -> None:
        self._data = data if isinstance(data, dict) else {}

    def __enter__(self) -> None:
        global _running
        _running += 1
        _note("start", self._data)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        global _running
        _running -= 1
        _note("end" if kind is None else kind.__name__, self._data)


@handler("note")
async def note(data: Any) -> None:
    """Over at once."""
    with _Noted(data):
        pass


@handler("sleep")
async def sleep(data: dict[str, Any]) -> None:
    """Sleeps `s` seconds without holding the loop."""
    with _Noted(data):
        await asyncio.sleep(data["s"])


@handler("gate")
async def gate(data: dict[str, Any]) -> None:
    """Runs until the test opens the gate."""
    with _Noted(data):
        while not (_FOLDER / "open").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@handler("block")
async def block(data: dict[str, Any]) -> None:
    """Holds the event loop for `s` seconds, as a handler should not."""
    with _Noted(data):
        time.sleep(data["s"])  # noqa: ASYNC251


@handler("compute")
async def compute(data: dict[str, Any]) -> None:
    """Holds the event loop and the interpreter's lock for `s` seconds and more, in C code."""
    with _Noted(data):
        began, size = time.monotonic(), 100_000
        while time.monotonic() < began + data["s"] / 2:
            began, size = time.monotonic(), 2 * size
            sum(range(size))


@handler("thread")
def thread(data: dict[str, Any]) -> None:
    """A plain function that takes `s` seconds; runs in a thread."""
    with _Noted(data):
        time.sleep(data["s"])


@handler("brief", timeout_s=0.3)
async def brief(data: dict[str, Any]) -> None:
    """Sleeps `s` seconds under a timeout of 0.3 s."""
    with _Noted(data):
        await asyncio.sleep(data["s"])


@handler("brief_thread", timeout_s=0.3)
def brief_thread(data: dict[str, Any]) -> None:
    """A plain function that outlives its timeout of 0.3 s."""
    with _Noted(data):
        time.sleep(data["s"])


@handler("stubborn")
async def stubborn(data: dict[str, Any]) -> None:
    """Swallows every cancellation for `s` seconds."""
    until = time.monotonic() + data["s"]
    with _Noted(data):
        while time.monotonic() < until:
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue


@handler("die")
async def die(data: dict[str, Any]) -> None:
    """Kills its own process the hard way."""
    with _Noted(data):
        os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(60)


@handler("reject")
async def reject(data: dict[str, Any]) -> None:
    """Says that this task can never succeed."""
    raise Reject("no recipient")


@handler("collect")
async def collect(data: dict[str, Any]) -> None:
    """Collects garbage while it waits for something that only a weak reference could lose."""
    with _Noted(data):
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.05, waiter.set_result, None)
        gc.collect()
        await waiter


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


_RAISED: dict[str, BaseException] = {
    "ValueError": ValueError("plain"),
    "SystemExit": SystemExit(7),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "CancelledError": asyncio.CancelledError(),
    "GeneratorExit": GeneratorExit(),
    "StopIteration": StopIteration(),
    "StopAsyncIteration": StopAsyncIteration(),
    "MemoryError": MemoryError(),
    "RecursionError": RecursionError("deep"),
    "TimeoutError": TimeoutError("of its own"),
    "unprintable": _Unprintable(),
    "huge": ValueError("x" * 10_000_000),
    "surrogate": ValueError("lone \ud800 surrogate"),
    "lines": ValueError("first\nsecond\r\x1b[31mred"),
    "group": ExceptionGroup("many", [ValueError("one"), OSError("two")]),
    **FAULTS,
}


@handler("raise")
async def raise_it(data: dict[str, Any]) -> None:
    """Raises what `kind` names."""
    with _Noted(data):
        raise _RAISED[data["kind"]]


@handler("raise_in_a_task")
async def raise_in_a_task(data: dict[str, Any]) -> None:
    """Raises what `kind` names, from a task that it starts and waits for."""

    async def inner() -> None:
        await asyncio.sleep(0)
        raise _RAISED[data["kind"]]

    with _Noted(data):
        await asyncio.gather(inner())


@handler("own_error")
async def own_error(data: dict[str, Any]) -> None:
    """Makes an error of its own of its cancellation."""
    with _Noted(data):
        try:
            await asyncio.sleep(data["s"])
        except asyncio.CancelledError as fault:
            raise ConnectionError("rolled back") from fault


@handler("raise_in_thread")
def raise_in_thread(data: dict[str, Any]) -> None:
    """Raises what `kind` names, from a thread."""
    with _Noted(data):
        raise _RAISED[data["kind"]]
