"""Tasks that a handler enqueues: collected, and pushed when its own task is settled."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from taskrig.task import MAX_FOLLOW_UPS, Invalid, decode, strict_json

if TYPE_CHECKING:
    from taskrig.authoring.context import Running

MAX_BYTES = 2**20  # of all tasks that one run enqueues
_turn = threading.Lock()  # threads of one handler may enqueue side by side


def add(run: Running, fields: dict[str, Any], more: dict[str, Any]) -> None:
    """Put a task into the outbox of the one that runs; see Context.enqueue."""
    if run.is_batch:
        raise RuntimeError("a handler of batches cannot enqueue through its context: use Queue")
    if run.has_ended:
        raise RuntimeError("the task has ended: what it enqueues now would be lost")
    trace = (run.task.trace if run.task is not None else None) or {}
    given = {name: value for name, value in fields.items() if value is not None}
    raw = strict_json({**trace, "enqueued_at": round(time.time(), 6), **more, **given})
    try:
        decode(raw)
    except Invalid as fault:
        raise ValueError(f"not a task: {fault.reason}") from None
    target = more.get("list", "")
    if type(target) is not str:
        raise ValueError("list must be the name of a list of the queue")
    with _turn:
        outbox = run.outbox or []
        if len(outbox) >= MAX_FOLLOW_UPS:
            raise ValueError(f"a run enqueues at most {MAX_FOLLOW_UPS} tasks")
        if sum(len(one) for _, one in outbox) + len(raw) > MAX_BYTES:
            raise ValueError(f"a run enqueues at most {MAX_BYTES} bytes of tasks")
        run.outbox = [*outbox, (target, raw)]
