"""One Delivery in, one Outcome out. Knows nothing of Redis.

Invariant: nothing that a task does leaves `run` as an exception; whatever it does wrong is an
outcome. An exception that does leave is a bug in the worker, and ends it.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any

from worker import forked
from worker.errors import Reject, Retry, describe, wait_of
from worker.extras import Middleware
from worker.faults import Trace, stands, trace
from worker.keys import aside_name
from worker.metrics import TypeMetrics
from worker.plan import Plan, Plans
from worker.registry import UNKNOWN, Handler
from worker.running import Context, running
from worker.task import Delivery, Invalid, Outcome, Task, decode
from worker.unfinished import Calls, refuse_unfinished

THREAD_NAME = "task-"  # how the name of a plain function's thread begins


class Execution:
    """One delivery in this worker's hands, from claim to settlement.

    Times are `time.monotonic()` seconds; `taken` is when it got its slot. `stop_reason` is ""
    until the worker itself asks the handler to stop: "timeout", "released" or "cancelled".
    `later_s`: of one that is retried, the seconds to wait; of a delayed one, the Unix seconds
    that it waits for. `admitted`: it has been let through the gate of its limited type. `waits`: of
    a unique one that must get its id before it is delayed or set aside, that outcome. `trace`:
    where the handler was when it failed or was stopped; only there then.
    """

    __slots__ = (
        *("admitted", "deadline", "delivery", "ended", "error", "label", "later_s", "number"),
        *("numbers", "outcome", "plan", "reason", "started", "stop_reason", "taken", "task"),
        *("thread", "trace", "waits", "work"),
    )
    trace: Trace

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.task: Task | None = None
        self.plan: Plan | None = None
        self.label = UNKNOWN
        self.number = 0
        self.admitted = False
        self.numbers: TypeMetrics | None = None  # of its type, looked up once
        self.taken = self.started = self.ended = self.later_s = 0.0
        self.deadline: float | None = None
        self.outcome: Outcome | None = None
        self.reason = ""
        self.error = ""
        self.stop_reason = ""
        self.waits: Outcome | None = None
        self.work: asyncio.Task[None] | None = None
        self.thread: threading.Thread | None = None

    @property
    def retries_left(self) -> int:
        """How often it may be tried again after this run."""
        return 0 if self.plan is None else max(0, self.plan.retries - self.delivery.attempts)

    def end_stopped(self) -> None:
        """Say that the worker itself stopped it, and why."""
        if self.stop_reason == "released":
            self.end(Outcome.RELEASED)
        elif self.stop_reason == "cancelled":
            self.end(Outcome.DEAD, "cancelled", "an operator cancelled it")
        else:
            self.fail("timeout", "it ran into its timeout")

    def end(self, outcome: Outcome, reason: str = "", error: str = "") -> None:
        """Say what became of it."""
        if forked.child:
            forked.leave(sys.exc_info()[1])
        self.outcome, self.reason, self.error = outcome, reason, error

    def fail(self, reason: str, error: str, after_s: float | None = None) -> None:
        """It failed: it is retried where its type still allows that, after `after_s` or backoff."""
        plan = self.plan
        if plan is None or not self.retries_left:
            self.end(Outcome.FAILED, reason, error)
            return
        self.later_s = plan.pause_s(self.delivery.attempts + 1) if after_s is None else after_s
        self.end(Outcome.RETRIED, reason, error)


class Executor:
    """Runs executions as the plans say.

    `clock_ms`: the server's Unix time at the latest claim. `paused_types`: types that operators
    have paused; their tasks are set aside.
    """

    def __init__(self, plans: Plans, middleware: Sequence[Middleware] = ()) -> None:
        self.plans = plans
        self._middleware = tuple(middleware)
        self._find = plans.find
        self.clock_ms = 0
        self.paused_types: frozenset[str] = frozenset()

    def prepare(self, execution: Execution) -> bool:
        """Decode and find the plan; False when it has ended without running."""
        try:
            task = execution.task = decode(execution.delivery.raw)
        except Invalid as fault:
            execution.end(Outcome.INVALID, fault.reason)
            return False
        plan = execution.plan = self._find(task.type)
        if self.paused_types and task.type in self.paused_types:
            end = "front" if execution.delivery.returned else "back"
            self._wait(execution, Outcome.HELD, end, aside_name(task.type))
            return False
        if plan is None:
            execution.end(Outcome.FAILED, "no_handler", "no handler takes this type")
            return False
        execution.label = plan.label
        # What has failed before had its time, even if the clock was set back since.
        waits = task.run_at is not None and not execution.delivery.attempts
        if waits and self._too_early(execution, task.run_at or 0.0):
            return False
        return plan.expires_s is None or not self._expired(execution, task, plan.expires_s)

    def _too_early(self, execution: Execution, run_at: float) -> bool:
        """Whether its time has not come; in milliseconds, as Redis keeps it."""
        due_ms = math.ceil(run_at * 1000)
        if due_ms <= self.clock_ms:
            return False
        execution.later_s = due_ms / 1000
        self._wait(execution, Outcome.DELAYED)
        return True

    @staticmethod
    def _wait(execution: Execution, outcome: Outcome, reason: str = "", error: str = "") -> None:
        """It is to wait elsewhere; a unique one is marked before."""
        execution.end(outcome, reason, error)
        plan, task = execution.plan, execution.task
        if plan is None or plan.limits is None or not plan.limits.unique:
            return
        if task is not None and task.id:
            execution.waits, execution.outcome = outcome, None

    def _expired(self, execution: Execution, task: Task, after_s: float) -> bool:
        """Whether it has waited too long; a task that carries no time never has.

        One that was requeued counts from then on.
        """
        since = max(task.enqueued_at or 0.0, task.run_at or 0.0)
        waited_s = self.clock_ms / 1000 - max(since, execution.delivery.requeued_at)
        if not since or waited_s <= after_s:
            return False
        text = f"it waited {waited_s:.3f} s, longer than {after_s:g} s"
        execution.end(Outcome.DEAD, "expired", text)
        return True

    async def run(self, execution: Execution) -> None:
        """Call the handler and set the outcome."""
        plan, task = execution.plan, execution.task
        assert plan is not None and task is not None
        handler = plan.handler
        running.set(execution)
        arguments = (task.data,) if handler.takes_data else handler.arguments(task)
        try:
            if self._middleware:
                await self._through(execution, handler, arguments)
            elif handler.is_sync:
                await self._in_thread(execution, handler.function, arguments)
            else:
                result = await handler.function(*arguments)
                if result is not None:
                    refuse_unfinished(result)
            execution.end(Outcome.SUCCEEDED)
        except GeneratorExit as fault:
            if not _in_a_task():
                raise  # the loop has ended, and this coroutine is being closed
            self._failed(execution, fault)
        except asyncio.CancelledError as fault:
            if execution.stop_reason:
                self._stopped(execution, fault)
            else:
                self._failed(execution, fault)
        except BaseException as fault:  # also SystemExit and KeyboardInterrupt: a task's own doing
            kind = type(fault)  # isinstance would ask the exception for its __class__ too
            released = execution.stop_reason == "released"
            if execution.stop_reason and not (released and issubclass(kind, Reject)):
                self._stopped(execution, fault)  # whatever it made of its cancellation
            elif issubclass(kind, Reject):
                execution.end(Outcome.FAILED, "rejected", describe(fault))
            else:
                self._failed(execution, fault)

    async def _through(
        self, execution: Execution, handler: Handler, arguments: tuple[Any, ...]
    ) -> None:
        """Call the handler inside the middleware, the first of which is the outermost."""

        async def innermost() -> None:
            if handler.is_sync:
                await self._in_thread(execution, handler.function, arguments)
            else:
                refuse_unfinished(await handler.function(*arguments))

        calls = Calls()
        call = calls.noted(innermost)
        for one in reversed(self._middleware):
            call = calls.noted(partial(one, Context(execution), call))
        await call()
        calls.refuse_unawaited()

    @staticmethod
    def _failed(execution: Execution, fault: BaseException) -> None:
        again = issubclass(type(fault), Retry)
        execution.fail("error", describe(fault), wait_of(fault) if again else None)
        if execution.outcome is Outcome.FAILED or not again:
            execution.trace = trace(fault)

    @staticmethod
    def _stopped(execution: Execution, fault: BaseException) -> None:
        execution.end_stopped()
        if execution.outcome is not Outcome.RELEASED:
            thread = execution.thread
            on = thread is not None and thread.is_alive()
            execution.trace = stands(thread) if thread is not None and on else trace(fault)

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
                refuse_unfinished(function(*arguments))
            except BaseException as caught:
                fault = caught
            if forked.child:
                forked.leave(fault)
            try:
                loop.call_soon_threadsafe(_resolve, done, fault)
            except RuntimeError:  # the loop has ended; nobody waits any more
                pass

        execution.thread = threading.Thread(
            target=copy_context().run, args=(body,), daemon=True,
            name=f"{THREAD_NAME}{execution.delivery.tag}",
        )  # fmt: skip
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
