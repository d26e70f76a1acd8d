"""What a handler may ask about the task that it runs."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from taskrig.errors import describe
from taskrig.texts import printable

if TYPE_CHECKING:
    from taskrig.task import Delivery, Task

_log = logging.getLogger("taskrig.task")


class Running(Protocol):
    """The task that runs, as the executor knows it."""

    delivery: Delivery
    task: Task | None
    deadline: float | None
    stop_reason: str

    @property
    def retries_left(self) -> int:
        """How often it may be tried again after this run."""


class Process:
    """What holds for the whole worker; handlers inherit it from the loop that starts them."""

    __slots__ = ("draining",)

    def __init__(self) -> None:
        self.draining = False


running: ContextVar[Running] = ContextVar("running")
process: ContextVar[Process] = ContextVar("process")


class Context:
    """One run of one task. Counts begin at 1, times are `time.monotonic()` seconds."""

    __slots__ = ("_running",)

    def __init__(self, run: Running) -> None:
        self._running = run

    @property
    def task(self) -> Task:
        """The task: `type`, `data`, and the optional keys that its producer gave."""
        assert self._running.task is not None
        return self._running.task

    @property
    def type(self) -> str:
        """The task's type, which a default handler cannot know otherwise."""
        return self.task.type

    @property
    def raw(self) -> bytes:
        """The task as it was pushed."""
        return self._running.delivery.raw

    @property
    def tag(self) -> str:
        """The unique name of this delivery, as it stands in P:inflight and in log lines."""
        return self._running.delivery.tag

    @property
    def deliveries(self) -> int:
        """1 at first, and 1 more for every worker that died while it ran this task."""
        return self._running.delivery.deliveries + 1

    @property
    def attempts(self) -> int:
        """1 at first, and 1 more for every run that failed and was to be retried."""
        return self._running.delivery.attempts + 1

    @property
    def retries_left(self) -> int:
        """How often this task is tried again where it goes on failing; 0: this run is the last."""
        return self._running.retries_left

    @property
    def stopped(self) -> str:
        """Why the worker has stopped this run: "timeout", "cancelled" (by an operator), "released"
        (the worker ends, and the task runs again); "" where it has not."""
        return self._running.stop_reason

    @property
    def deadline(self) -> float | None:
        """When the timeout stops this run; None without one."""
        return self._running.deadline

    @property
    def left_s(self) -> float | None:
        """Seconds until then, 0.0 when it has passed; None without a timeout."""
        at = self._running.deadline
        return None if at is None else max(0.0, at - time.monotonic())

    @property
    def draining(self) -> bool:
        """Whether this worker is about to stop: a good moment to save and to return."""
        of = process.get(None)
        return of is not None and of.draining

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines carry the tag and the type."""
        return _Bound(_log, {"tag": self.tag, "type": self.type})


class _Bound(logging.LoggerAdapter[logging.Logger]):
    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log with the tag and the type in front and, for collectors, beside the message."""
        level = level if isinstance(level, int) else logging.INFO
        if not self.isEnabledFor(level):
            return
        bound, given = dict(self.extra or {}), kwargs.get("extra") or {}
        more = given if isinstance(given, dict) else {"extra": given}
        kwargs |= {"extra": {**more, **bound}, "stacklevel": kwargs.get("stacklevel", 1) + 1}
        head = f"{bound['tag']} ({printable(str(bound['type']))}): "
        try:
            text = str(msg)
        except BaseException as fault:
            text = f"(a message without text: {describe(fault)})"
        self.logger.log(
            level, head.replace("%", "%%") + text if args else head + text, *args, **kwargs
        )


def context() -> Context:
    """The context of the task that runs here; also in what its handler starts or calls.

    Raises:
        RuntimeError: no task runs here.
    """
    run = running.get(None)
    if run is None:
        raise RuntimeError("context() works only while a handler runs a task")
    return Context(run)
