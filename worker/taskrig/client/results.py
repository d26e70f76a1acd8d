"""What became of a task, as its worker left it (docs/protocol.md, Results)."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import Any

from taskrig.admin.one_task import result_of
from taskrig.broker import QueueCommands
from taskrig.broker.steps import Held, Pause, Steps
from taskrig.errors import BrokerUnavailable

_LOOK_EVERY_S, _LOOK_AT_LEAST_S = 0.05, 0.5  # where the server cannot be waited on; grows
# The server is full, or its rights or a proxy forbid BLMOVE, or too many of us wait already.
_CANNOT_WAIT = ("out_of_memory", "permission", "script", "busy")


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The end of a task: `state` is succeeded, failed or dead. `result` is what the handler
    returned; `reason`, `error` and `traceback` say why it did not. Times are Unix seconds by the
    server's clock."""

    id: str
    state: str
    type: str | None = None
    result: Any = None
    error: str | None = None
    reason: str | None = None
    traceback: str | None = None
    attempts: int | None = None
    deliveries: int | None = None
    worker: str | None = None
    enqueued: float | None = None
    started: float | None = None
    finished: float | None = None

    @property
    def succeeded(self) -> bool:
        """Whether its handler returned."""
        return self.state == "succeeded"


_FIELDS = tuple(field.name for field in fields(TaskResult))


def task_result(reply: list[bytes], task_id: str) -> TaskResult | None:
    """The result in a reply; None where there is none."""
    document = result_of(reply)
    if document is None or not isinstance(document.get("state"), str):
        return None
    known = {name: document[name] for name in _FIELDS if name in document}
    return TaskResult(**{**known, "id": task_id})


def wait(
    commands: QueueCommands, task_id: str, timeout_s: float, hold_s: float
) -> Steps[TaskResult | None]:
    """The result of a task, waited for without polling where the server allows that; None where
    there is none in time."""
    until = time.monotonic() + timeout_s
    reply = yield commands.result(task_id)
    can_wait, pause_s = True, _LOOK_EVERY_S
    while not reply and (left_s := until - time.monotonic()) > 0:
        if can_wait:
            try:
                held = commands.wait_for_result(task_id, max(0.001, min(left_s, hold_s)))
                found = yield Held(held)
                reply = [found] if found is not None else []
                continue
            except BrokerUnavailable as error:
                if error.kind not in _CANNOT_WAIT:
                    raise
                can_wait = False
        yield Pause(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, _LOOK_AT_LEAST_S)
        reply = yield commands.result(task_id)
    return task_result(reply, task_id)


def state(commands: QueueCommands, task_id: str) -> Steps[str | None]:
    """How a task stands, as far as Redis keeps that."""
    tracked: str = yield commands.state(task_id)
    if tracked:
        return tracked
    found = task_result((yield commands.result(task_id)), task_id)
    return found.state if found is not None else None
