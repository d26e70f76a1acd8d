"""What runs now, for how long, and where each handler stands; told at SIGUSR1.

Asked from a thread, while the event loop goes on or is stuck: everything here is a glance that
may be out of date by the time it is printed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

from taskrig.engine.events import type_shown
from taskrig.engine.execution import Execution

TASKS_TOLD = 100
FRAMES_TOLD = 12
_PACKAGE = os.path.dirname(os.path.dirname(__file__))


def standing(executions: Iterable[Execution], loop_thread: int | None) -> list[str]:
    """One line a task, longest first: tag, type, seconds, and its innermost calls.

    `loop_thread` is the ident of the event loop's thread: a handler that blocks it stands there.
    """
    now = time.monotonic()
    frames = sys._current_frames()
    tasks = sorted(executions, key=lambda execution: execution.started)
    lines = []
    for execution in tasks[:TASKS_TOLD]:
        calls = _calls(execution, frames, loop_thread)
        shown = " < ".join(calls[:FRAMES_TOLD]) or "not known"
        batch = execution.batch
        more = "" if batch is None else f", a batch of {len(batch.executions)}"
        lines.append(
            f"{execution.delivery.tag} ({type_shown(execution)}{more}) for "
            f"{now - execution.started:.1f} s, in {shown}"
        )
    if len(tasks) > TASKS_TOLD:
        lines.append(f"... and {len(tasks) - TASKS_TOLD} more")
    return lines


def _calls(
    execution: Execution, frames: dict[int, FrameType], loop_thread: int | None
) -> list[str]:
    """Where the handler stands, innermost call first."""
    if execution.process is not None:
        return [f"the process {execution.process.pid}, whose stack follows"]
    thread = execution.thread
    if thread is not None and thread.ident in frames:
        return _of_thread(frames[thread.ident])
    work = execution.work
    if work is not None and work.done():
        return []
    # A handler that is started at once has no task yet while its first step blocks the loop.
    outermost: Any = work.get_coro() if work is not None else None
    if loop_thread in frames and (work is None or getattr(outermost, "cr_running", False)):
        return _of_thread(frames[loop_thread])
    return _of_coroutine(outermost)


def _of_thread(frame: FrameType | None) -> list[str]:
    calls = []
    while frame is not None:
        if _is_in("engine", frame):
            break  # from here on out it is the worker's own machinery
        if not _is_in("process", frame) and not _is_in("runtime", frame):
            calls.append(_place(frame))  # not what has interrupted it just to tell
        frame = frame.f_back
    return calls


def _of_coroutine(at: Any) -> list[str]:
    """Follow what each coroutine awaits, from the outermost in."""
    calls: list[str] = []
    for _ in range(200):
        frame = getattr(at, "cr_frame", None) or getattr(at, "gi_frame", None)
        if frame is not None and not _is_in("engine", frame):
            calls.append(_place(frame))
        inner = getattr(at, "cr_await", None) or getattr(at, "gi_yieldfrom", None)
        if inner is None:
            break
        if asyncio.isfuture(inner):
            calls.append(f"awaiting {type(inner).__name__}")
            break
        at = inner
    return calls[::-1]


def _is_in(folder: str, frame: FrameType) -> bool:
    """Whether it is code of this folder of ours."""
    return frame.f_code.co_filename.startswith(os.path.join(_PACKAGE, folder, ""))


def _place(frame: FrameType) -> str:
    """`folder/file.py:12 function`."""
    code = frame.f_code
    path = "/".join(code.co_filename.replace("\\", "/").split("/")[-2:])
    return f"{path}:{frame.f_lineno} {code.co_name}"
