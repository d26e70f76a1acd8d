"""A backend for Django's own tasks (`django.tasks`, from Django 6.0): see docs/django.md."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import Any

from django.core import checks
from django.db import transaction
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task, TaskError, TaskResult, TaskResultStatus
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils.crypto import get_random_string
from django.utils.json import normalize_json
from django.utils.module_loading import import_string

from taskrig.client import Queue
from taskrig.client import TaskResult as Kept
from taskrig.contrib.django.configured import config_of_settings
from taskrig.contrib.django.producing import queue
from taskrig.errors import TaskrigError
from taskrig.task import decode

PLAIN, ASYNC = "django.task", "django.async_task"  # the types of such tasks
MOST_PRIORITY = 100
CLASS_NOTE = "exception class: "  # begins a note of an exception, as the traceback shows it
_CLASS = re.compile(rf"^\s*{CLASS_NOTE}([A-Za-z_][\w.]*)$", re.MULTILINE)


class TaskrigBackend(BaseTaskBackend):
    """`TASKS = {"default": {"BACKEND": "taskrig.contrib.django.TaskrigBackend"}}`.

    OPTIONS: `RESULT_TTL`, seconds from the enqueueing for which results are kept (by default
    `results.max_ttl`); `ENQUEUE_ON_COMMIT` (by default True); `DATABASE`, whose transaction counts.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Push it when the transaction commits, or at once outside of one."""
        self.validate_task(task)
        result = _result(task, get_random_string(32), args, kwargs, self.alias)
        database = self.options.get("DATABASE")
        if self.options.get("ENQUEUE_ON_COMMIT", True):
            made = self._made(result)  # what cannot be JSON fails here, and not at the commit
            transaction.on_commit(lambda: self._push(result, made), using=database)
        else:
            self._push(result, self._made(result))
        return result

    def get_result(self, result_id: str) -> TaskResult:
        """How it stands; raises TaskResultDoesNotExist."""
        raw = queue().record(result_id)
        if raw is None:
            raise TaskResultDoesNotExist(result_id)
        given = decode(raw)
        data = given.data
        task = task_of(data)
        result = _result(task, result_id, data["args"], data["kwargs"], data["backend"])
        change(result, enqueued_at=moment(given.enqueued_at))
        kept = queue().result(result_id, timeout=0)
        if kept is not None:
            _end(result, kept)
        elif queue().state(result_id) == "running":
            change(result, status=TaskResultStatus.RUNNING)
        return result

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """Whether settings.TASKRIG can work."""
        try:
            config_of_settings()
        except TaskrigError as error:
            return [checks.Error(str(error), id="taskrig.E001", obj=self.alias)]
        return []

    def _made(self, result: TaskResult) -> Any:
        task = result.task
        data = {
            "path": task.module_path,
            "args": result.args,
            "kwargs": result.kwargs,
            "backend": self.alias,
            "priority": task.priority,
            "queue_name": task.queue_name,
            "run_after": task.run_after.timestamp() if task.run_after is not None else None,
        }
        kind = ASYNC if iscoroutinefunction(task.func) else PLAIN
        options = {"id": result.id, "run_at": data["run_after"], "result_ttl": self._ttl_s()}
        return queue().made(Queue.task(kind, data, **options))

    def _push(self, result: TaskResult, made: Any) -> None:
        ahead_s = 0.0
        if result.task.run_after is not None:
            ahead_s = max(0.0, result.task.run_after.timestamp() - time.time())
        queue().push_recorded(made, math.ceil(self._ttl_s() + ahead_s), self._list_of(result.task))
        change(result, enqueued_at=datetime.now(UTC))
        task_enqueued.send(type(self), task_result=result)

    def _ttl_s(self) -> float:
        most = queue().config.results.max_ttl_s
        return float(min(self.options.get("RESULT_TTL", most), most))

    @staticmethod
    def _list_of(task: Task) -> str:
        lists = queue().config.queue.sources
        if task.queue_name in lists:
            return str(task.queue_name)
        return list_of_priority(task.priority, lists, queue().key)


def list_of_priority(priority: int, lists: Sequence[str], key: str) -> str:
    """The list for a priority: 0 is the queue's key; higher ones share the lists before it, lower
    ones those after it."""
    at = lists.index(key)
    beside = lists[:at][::-1] if priority > 0 else lists[at + 1 :]
    if not priority or not beside:
        return key
    return beside[math.ceil(abs(priority) * len(beside) / MOST_PRIORITY) - 1]


def task_of(data: Any) -> Task:
    """The Django task that a pushed one names; raises ImportError or TypeError."""
    task = import_string(data["path"])
    if not isinstance(task, Task):
        raise TypeError(f"{data['path']} is not a task of django.tasks")
    after = data["run_after"]
    return task.using(
        priority=data["priority"],
        queue_name=data["queue_name"],
        run_after=moment(after),
        backend=data["backend"],
    )


def moment(at: float | None) -> datetime | None:
    """Unix seconds as a datetime."""
    return datetime.fromtimestamp(at, UTC) if at is not None else None


def change(result: TaskResult, **fields: Any) -> None:
    """Set fields of a frozen result, as Django's own backends do."""
    for name, value in fields.items():
        object.__setattr__(result, name, value)


def _result(task: Task, name: str, args: Any, kwargs: Any, alias: str) -> TaskResult:
    return TaskResult(
        task=task,
        id=name,
        status=TaskResultStatus.READY,
        enqueued_at=None,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=list(normalize_json(args)),
        kwargs=kwargs,
        backend=alias,
        errors=[],
        worker_ids=[],
    )


def _end(result: TaskResult, kept: Kept) -> None:
    change(
        result,
        status=TaskResultStatus.SUCCESSFUL if kept.succeeded else TaskResultStatus.FAILED,
        started_at=moment(kept.started),
        last_attempted_at=moment(kept.started),
        finished_at=moment(kept.finished),
        worker_ids=[kept.worker or "?"] * (kept.attempts or 1) if kept.started else [],
        _return_value=kept.result,
    )
    if not kept.succeeded:
        text = kept.traceback or f"{kept.reason}: {kept.error}"
        result.errors.append(TaskError(exception_class_path=_class_in(text), traceback=text))


def _class_in(text: str) -> str:
    """The class that a traceback's note names; of what has none, our own."""
    named = _CLASS.findall(text)
    return named[-1] if named else "taskrig.errors.TaskrigError"
