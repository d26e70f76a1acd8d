"""What a handler may ask about the task that it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from taskrig.authoring import outbox
from taskrig.errors import describe
from taskrig.texts import printable

if TYPE_CHECKING:
    from taskrig.task import Delivery, Task

_log = logging.getLogger("taskrig.task")


class Running(Protocol):
    """The task that runs, as the worker knows it."""

    delivery: Delivery
    task: Task | None
    deadline: float | None
    stop_reason: str
    outbox: list[tuple[str, bytes]] | None

    @property
    def retries_left(self) -> int:
        """How often it may be tried again after this run."""

    @property
    def each(self) -> Sequence[Running]:
        """Itself, or all tasks of its batch."""

    @property
    def is_batch(self) -> bool:
        """Whether it runs as a batch, also of one task."""

    @property
    def has_ended(self) -> bool:
        """Whether it is decided what became of it."""


class Process:
    """What holds for the whole worker; handlers inherit it from the loop that starts them."""

    __slots__ = ("draining",)

    def __init__(self) -> None:
        self.draining = False


running: ContextVar[Running] = ContextVar("running")
process: ContextVar[Process] = ContextVar("process")


class Context:
    """One run of one task, or of a batch. Counts begin at 1, times are `time.monotonic()` seconds.

    What belongs to one task (`task`, `raw`, `tag`, `deliveries`, `attempts`, `retries_left`) is, of
    a batch, in `each`.
    """

    __slots__ = ("_of", "_running")

    def __init__(self, run: Running, of: Running | None = None) -> None:
        """`of`: the task of a batch that it is about."""
        self._running = run
        self._of = run if of is None and not run.is_batch else of

    @property
    def each(self) -> list[Context]:
        """The context of each task, in the order of the list that the handler got."""
        if self._of is not None:
            return [self]
        return [Context(self._running, one) for one in self._running.each]

    @property
    def is_batch(self) -> bool:
        """Whether it is of a batch, also of a batch of one task."""
        return self._of is None

    @property
    def _one(self) -> Running:
        if self._of is None:
            raise RuntimeError("this is a batch of tasks: ask one of them, as context().each has")
        return self._of

    @property
    def task(self) -> Task:
        """The task: `type`, `data`, and the optional keys that its producer gave."""
        assert self._one.task is not None
        return self._one.task

    @property
    def type(self) -> str:
        """The task's type, which a default handler cannot know otherwise."""
        task = self._running.task
        assert task is not None
        return task.type

    @property
    def raw(self) -> bytes:
        """The task as it was pushed."""
        return self._one.delivery.raw

    @property
    def tag(self) -> str:
        """The unique name of this delivery, as it stands in P:inflight and in log lines."""
        return self._one.delivery.tag

    @property
    def deliveries(self) -> int:
        """1 at first, and 1 more for every worker that died while it ran this task."""
        return self._one.delivery.deliveries + 1

    @property
    def attempts(self) -> int:
        """1 at first, and 1 more for every run that failed and was to be retried."""
        return self._one.delivery.attempts + 1

    @property
    def retries_left(self) -> int:
        """How often this task is tried again where it goes on failing; 0: this run is the last."""
        return self._one.retries_left

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
    def parent(self) -> Any:
        """What a task that follows another is told of it (`pass_result`); None where nothing is."""
        return self.task.fields.get("parent")

    def enqueue(
        self,
        type: str,  # noqa: A002 - as in the task
        data: Any = None,
        *,
        id: str | int | None = None,  # noqa: A002 - as in the task
        run_at: float | None = None,
        list: str | None = None,  # noqa: A002 - as in the task
        **more: Any,
    ) -> None:
        """Enqueue a task in the step that settles this one, and only if this one succeeds.

        A handler that runs twice enqueues once, one that fails enqueues nothing.

        Args:
            type, data, id, run_at: of the task.
            list: which list of the queue it is pushed to, one of `queue.lists`.
            more: its other keys, such as result_ttl, then, otherwise.

        Raises:
            ValueError: it is not a task, or there are too many.
            RuntimeError: this task has ended, or is one of a batch.
        """
        outbox.add(
            self._running,
            {"type": type, "data": {} if data is None else data, "id": id, "run_at": run_at},
            more | ({} if list is None else {"list": list}),
        )

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines carry the tag (of a batch, the first one) and the type."""
        if self._of is not None:
            return _Bound(_log, {"tag": self.tag, "type": self.type})
        more = len(self._running.each) - 1
        first = self._running.delivery.tag
        return _Bound(
            _log, {"tag": f"{first} and {more} more" if more else first, "type": self.type}
        )


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
