"""Cancel one task, wherever it is."""

from __future__ import annotations

from typing import Literal

from taskrig.admin.inspector import cancel
from taskrig.admin.one_task import take_out
from taskrig.admin.search import find
from taskrig.broker import QueueCommands
from taskrig.broker.steps import Steps
from taskrig.config.sections import Config
from taskrig.errors import TaskrigError

Cancelled = Literal["dropped", "asked", "ended", "not_found"]
WHY = "its producer cancelled it"
_TRIES = 5  # a worker may take it between the look and the deed


def cancel_task(
    commands: QueueCommands, config: Config, task_id: str, within_s: float
) -> Steps[Cancelled]:
    """See `Queue.cancel`."""
    for _ in range(_TRIES):
        searched = yield from find(commands, config, task_id, within_s=within_s)
        found = searched.found
        if found is None:
            if not searched.complete:
                raise TimeoutError(f"the task was not found within {within_s:g} s")
            return "not_found"
        if found.state == "dead":
            return "ended"
        if found.state == "in_flight":
            answer = yield from cancel(commands, found.entry.tag)
            if answer in ("", "already"):
                return "asked"
        else:
            no = yield from take_out(commands, config, found, WHY)
            if not no:
                return "dropped"
            if no == "group":
                raise TaskrigError("not cancelled: no worker has seen to the task's group yet")
    raise TimeoutError(f"the task was not cancelled: it was somewhere else at {_TRIES} looks")
