"""Handlers that take batches; what each was called with is written to the world's journal."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from taskrig import BatchFailed, Reject, Retry, Task, context, handler
from tests.support.handlers import _FOLDER, _note

_ERRORS = {"error": ValueError, "reject": Reject, "retry": Retry}


def _began(tasks: list[Task]) -> None:
    _note("batch", {"id": [task.data["id"] for task in tasks]})


def _end(tasks: list[Task]) -> None:
    """Fail as the tasks say: `boom` in one fails all, `fail` in one fails that one."""
    for task in tasks:
        if "boom" in task.data:
            raise ValueError(f"boom of {task.data['id']}")
    errors = {
        index: _ERRORS[task.data["fail"]](f"no {task.data['id']}")
        for index, task in enumerate(tasks)
        if "fail" in task.data
    }
    _note("done", {"id": [task.data["id"] for task in tasks]})
    if errors:
        raise BatchFailed(errors)


def _longest_s(tasks: list[Task]) -> float:
    return max(float(task.data.get("s", 0)) for task in tasks)


@handler("insert", batch=500, linger_s=0.3)
async def insert(tasks: list[Task]) -> None:
    """Takes as long as the slowest of its tasks, or until the gate is open."""
    _began(tasks)
    try:
        if any("gated" in task.data for task in tasks):
            while not (_FOLDER / "open").exists():  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
        await asyncio.sleep(_longest_s(tasks))
    except asyncio.CancelledError:
        _note("stopped", {"id": context().stopped})
        raise
    if any("dies" in task.data for task in tasks):
        os.kill(os.getpid(), signal.SIGKILL)
    _end(tasks)


@handler("insert_blocking", batch=500, linger_s=0.3)
def insert_blocking(tasks: list[Task]) -> None:
    """The same as a plain function."""
    _began(tasks)
    time.sleep(_longest_s(tasks))
    _end(tasks)


@handler("insert_process", batch=500, linger_s=0.3, run_in="process")
def insert_process(tasks: list[Task]) -> None:
    """The same in a process."""
    _began(tasks)
    time.sleep(_longest_s(tasks))
    if any("dies" in task.data for task in tasks):
        os.kill(os.getpid(), signal.SIGKILL)
    _end(tasks)


@handler("insert_coroutine", batch=500, linger_s=0.3, run_in="process")
async def insert_coroutine(tasks: list[Task]) -> None:
    """The same as a coroutine in a process."""
    _began(tasks)
    await asyncio.sleep(_longest_s(tasks))
    _end(tasks)


@handler("returns", batch=10)
async def returns(tasks: list[Task]) -> Any:
    """What it returns is ignored."""
    _began(tasks)
    return [False for _ in tasks]


@handler("forgets", batch=10)
def forgets(tasks: list[Task]) -> Any:
    """Returns a coroutine that nobody waits for."""
    return asyncio.sleep(0)


@handler("asks", batch=10, linger_s=0.3, retries=1, backoff_s=0)
async def asks(tasks: list[Task]) -> None:
    """Notes what the context says of each task, and what it says of the whole."""
    at = context()
    _note("asked", {"id": [(one.task.data["id"], one.attempts, one.tag) for one in at.each]})
    try:
        _note("said", {"id": at.tag})
    except RuntimeError as error:
        _note("said", {"id": str(error)})
    at.log.info("asked")
    if at.each[0].attempts == 1:
        raise BatchFailed({0: ValueError("once more")})
