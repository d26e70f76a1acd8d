"""The handlers of Django's own tasks; `async_command` loads them where TASKS has our backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.tasks.base import TaskContext, TaskResult, TaskResultStatus
from django.tasks.signals import task_finished, task_started
from django.utils.json import normalize_json

from taskrig import Reject, context, handler
from taskrig.contrib.django.backend import (
    ASYNC,
    CLASS_NOTE,
    PLAIN,
    TaskrigBackend,
    change,
    moment,
    task_of,
)


@handler(PLAIN, track=True)
def run_plain(data: Any) -> Any:
    """Run a task whose function is a plain one, in a thread."""
    with _run(data) as result:
        task = result.task
        value = task.func(*_before(result), *result.args, **result.kwargs)
        return _returned(result, value)


@handler(ASYNC, track=True)
async def run_async(data: Any) -> Any:
    """Run a task whose function is a coroutine function, in the event loop."""
    with _run(data) as result:
        task = result.task
        value = await task.func(*_before(result), *result.args, **result.kwargs)
        return _returned(result, value)


def _note_class(fault: Exception) -> None:
    """Let the traceback, which the result keeps, name the class by its whole path."""
    note = f"{CLASS_NOTE}{type(fault).__module__}.{type(fault).__qualname__}"
    if note not in getattr(fault, "__notes__", ()):
        fault.add_note(note)


def _before(result: TaskResult) -> tuple[TaskContext, ...]:
    return (TaskContext(task_result=result),) if result.task.takes_context else ()


def _returned(result: TaskResult, value: Any) -> Any:
    value = normalize_json(value)
    change(result, _return_value=value)
    return value


@contextmanager
def _run(data: Any) -> Iterator[TaskResult]:
    """The result as it is while the task runs; tells Django's signals of the start and the end."""
    here = context()
    try:
        task = task_of(data)
    except (ImportError, TypeError, KeyError) as fault:
        raise Reject(f"there is no such Django task: {fault}") from fault
    now = datetime.now(UTC)
    result = TaskResult(
        task=task,
        id=here.task.id or "",
        status=TaskResultStatus.RUNNING,
        enqueued_at=moment(here.task.enqueued_at),
        started_at=now,
        finished_at=None,
        last_attempted_at=now,
        args=data["args"],
        kwargs=data["kwargs"],
        backend=data["backend"],
        errors=[],
        worker_ids=[here.tag.partition(":")[0]] * here.attempts,
    )
    task_started.send(TaskrigBackend, task_result=result)
    status = TaskResultStatus.FAILED
    try:
        yield result
        status = TaskResultStatus.SUCCESSFUL
    except Exception as fault:
        _note_class(fault)
        raise
    finally:
        change(result, status=status, finished_at=datetime.now(UTC))
        task_finished.send(TaskrigBackend, task_result=result)
