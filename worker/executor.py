"""One Delivery in, one Outcome out. Knows nothing of Redis.

Invariant: nothing that a task does leaves `run` as an exception; whatever it does wrong is an
outcome. An exception that does leave is a bug in the worker, and ends it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable
from typing import Any

from worker.errors import Reject
from worker.registry import UNKNOWN, Handler, Registry
from worker.task import Delivery, Invalid, Outcome, Task, decode

log = logging.getLogger("worker.task")

MAX_ERROR_CHARS = 500  # of an error kept with a dead letter or printed; messages can be huge


class Execution:
    """One delivery in this worker's hands, from claim to settlement.

    Times are `time.monotonic()` seconds. `stop_reason` is "" until the worker itself asks the
    handler to stop: "timeout", "released" or "cancelled".
    """

    __slots__ = (
        *("deadline", "delivery", "ended", "error", "handler", "label", "number"),
        *("outcome", "reason", "started", "stop_reason", "task", "thread", "work"),
    )

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.task: Task | None = None
        self.handler: Handler | None = None
        self.label = UNKNOWN
        self.number = 0
        self.started = self.ended = 0.0
        self.deadline: float | None = None
        self.outcome: Outcome | None = None
        self.reason = ""
        self.error = ""
        self.stop_reason = ""
        self.work: asyncio.Task[None] | None = None
        self.thread: threading.Thread | None = None

    def end_stopped(self) -> None:
        """Say that the worker itself stopped it, and why."""
        if self.stop_reason == "released":
            self.end(Outcome.RELEASED)
        elif self.stop_reason == "cancelled":
            self.end(Outcome.DEAD, "cancelled", "an operator cancelled it")
        else:
            self.end(Outcome.FAILED, "timeout", "it ran into its timeout")

    def end(self, outcome: Outcome, reason: str = "", error: str = "") -> None:
        """Say what became of it."""
        self.outcome, self.reason, self.error = outcome, reason, error


class Executor:
    """Runs executions with the handlers of a registry."""

    def __init__(self, registry: Registry, timeouts: dict[str, float | None]) -> None:
        """`timeouts`: seconds by type, from the config; they go before the handlers' own."""
        self._find = registry.find
        self._timeouts = timeouts
        self._configured = frozenset(timeouts)

    def prepare(self, execution: Execution) -> bool:
        """Decode and find the handler; False when it has ended already (invalid, no handler)."""
        try:
            task = execution.task = decode(execution.delivery.raw)
        except Invalid as fault:
            execution.end(Outcome.INVALID, fault.reason)
            return False
        handler = execution.handler = self._find(task.type)
        if handler is None:
            execution.end(Outcome.FAILED, "no_handler", "no handler takes this type")
            return False
        # A type of its own in the config is a label too, though the default handler runs it.
        known = task.type in self._configured
        execution.label = task.type if known else handler.label
        timeout_s = self._timeouts[task.type] if known else None
        if timeout_s is None:
            timeout_s = handler.timeout_s
        if timeout_s is not None:
            execution.deadline = execution.started + timeout_s
        return True

    async def run(self, execution: Execution) -> None:
        """Call the handler and set the outcome."""
        handler, task = execution.handler, execution.task
        assert handler is not None and task is not None
        arguments = (task.type, task.data) if handler.takes_type else (task.data,)
        try:
            if handler.is_sync:
                await self._in_thread(execution, handler.function, arguments)
            else:
                await handler.function(*arguments)
            execution.end(Outcome.SUCCEEDED)
        except GeneratorExit as fault:
            if not _in_a_task():
                raise  # the loop has ended, and this coroutine is being closed
            self._failed(execution, fault)
        except asyncio.CancelledError as fault:
            if execution.stop_reason:
                execution.end_stopped()
            else:
                self._failed(execution, fault)
        except BaseException as fault:  # also SystemExit and KeyboardInterrupt: a task's own doing
            if execution.stop_reason in ("timeout", "cancelled"):
                execution.end_stopped()
            elif isinstance(fault, Reject):
                execution.end(Outcome.FAILED, "rejected", describe(fault))
            else:
                self._failed(execution, fault)

    @staticmethod
    def _failed(execution: Execution, fault: BaseException) -> None:
        execution.end(Outcome.FAILED, "error", describe(fault))
        if log.isEnabledFor(logging.DEBUG):
            log.debug("traceback of %s:\n%s", execution.delivery.tag, trace(fault))

    async def _in_thread(
        self, execution: Execution, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        """Run a plain function in a daemon thread of its own.

        A thread cannot be stopped: after a timeout it keeps its slot, so there are never more
        threads than slots. Being a daemon, it cannot hold the exit.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[BaseException | None] = loop.create_future()

        def body() -> None:
            fault: BaseException | None = None
            try:
                function(*arguments)
            except BaseException as caught:
                fault = caught
            try:
                loop.call_soon_threadsafe(_resolve, done, fault)
            except RuntimeError:  # the loop has ended; nobody waits any more
                pass

        execution.thread = threading.Thread(
            target=body, daemon=True, name=f"task-{execution.delivery.tag}"
        )
        execution.thread.start()
        fault = await done
        if fault is not None:
            raise fault


def _resolve(done: asyncio.Future[BaseException | None], fault: BaseException | None) -> None:
    if not done.done():
        done.set_result(fault)


def _in_a_task() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def describe(fault: BaseException) -> str:
    """The exception in one short printable line, whatever its `__str__` does."""
    name = type(fault).__name__
    try:
        text = str(fault)
    except BaseException:
        return f"{name} (its message cannot be had)"
    text = text[: MAX_ERROR_CHARS * 2].encode("utf-8", "backslashreplace").decode()
    text = " ".join(text.split())
    line = f"{name}: {text}" if text else name
    line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
    return line if len(line) <= MAX_ERROR_CHARS else line[: MAX_ERROR_CHARS - 3] + "..."


def trace(fault: BaseException) -> str:
    """A traceback, bounded, whatever the exception's `__str__` does."""
    try:
        return "".join(traceback.format_exception(fault, limit=-20))[-5000:]
    except BaseException:
        return describe(fault)
