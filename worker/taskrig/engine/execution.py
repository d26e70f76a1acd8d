"""One delivery, from claim to disposition: decode, route, admit, run, dispose.

Knows nothing of Redis. Each step is total: nothing that a task does leaves it as an exception;
whatever a task does wrong is a disposition. An exception that does leave is a bug in the worker,
and ends it.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from taskrig.authoring.context import Context
from taskrig.authoring.extras import Middleware
from taskrig.authoring.options import THREAD
from taskrig.engine.dispositions import (
    RELEASED,
    SUCCEEDED,
    Dead,
    Delayed,
    Disposition,
    Failed,
    Held,
    Invalid,
    Retried,
    Returned,
)
from taskrig.engine.policies import Policies, TaskPolicy
from taskrig.engine.returned import Unkeepable, json_of
from taskrig.engine.unfinished import Calls, refuse_unfinished
from taskrig.errors import Reject, Retry, describe, wait_of
from taskrig.keys import aside_name
from taskrig.metrics import TypeMetrics
from taskrig.runtime.tracebacks import Trace, stands, trace
from taskrig.task import MAX_ID_BYTES, Delivery, Settlement, Task, decode
from taskrig.task import Invalid as NotATask


class TaskProcess(Protocol):
    """A child that runs a task. `pid` is 0 until it is known, `memory` in bytes."""

    pid: int
    memory: int


class Batch(msgspec.Struct, eq=False):
    """The tasks of one call of a handler, of which the first carries this.

    `cancelled`: the tags of those that an operator has cancelled while it ran.
    """

    executions: list[Execution]
    cancelled: set[str] = msgspec.field(default_factory=set)

    def share_stop(self, first: Execution) -> None:
        """Tell each why the run was stopped. Beside one that an operator cancels others run
        again."""
        reason = first.stop_reason
        for one in self.executions:
            spared = reason == "cancelled" and one.delivery.tag not in self.cancelled
            one.stop_reason = "released" if spared else reason


class Execution(msgspec.Struct, eq=False):
    """One delivery in this worker's hands, from claim to settlement.

    Times are `time.monotonic()` seconds; `taken` is when it got its slot. `stop_reason` is ""
    until the worker itself asks the handler to stop: "timeout", "released" or "cancelled".
    `admitted`: it has been let through the limiter of its type. `waits`: of a unique one that must
    get its id before it is delayed or held, that disposition.
    """

    delivery: Delivery
    task: Task | None = None
    policy: TaskPolicy | None = None
    numbers: TypeMetrics | None = None
    number: int = 0  # in this worker's log lines; 0: it gets none
    admitted: bool = False
    taken: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    deadline: float | None = None
    disposition: Disposition | None = None
    stop_reason: str = ""
    waits: Disposition | None = None
    work: asyncio.Task[None] | None = None
    thread: threading.Thread | None = None  # that runs its plain function now
    process: TaskProcess | None = None  # that runs it now
    trace: Trace | None = None  # where the handler was when it failed or was stopped
    batch: Batch | None = None  # that runs as this execution
    result: Any = None  # what the handler returned, until it has a disposition
    outbox: list[tuple[str, bytes]] | None = None  # (list, item)... that its handler enqueued

    @property
    def each(self) -> Sequence[Execution]:
        """The executions that end with this one: itself, and the others of its batch."""
        return (self,) if self.batch is None else self.batch.executions

    @property
    def is_batch(self) -> bool:
        """Whether it runs as a batch, also of one task."""
        return self.batch is not None

    @property
    def has_ended(self) -> bool:
        """Whether it is decided what became of it."""
        return self.disposition is not None

    @property
    def retries_left(self) -> int:
        """How often it may be tried again after this run."""
        policy = self.policy
        return 0 if policy is None else max(0, policy.retries - self.delivery.attempts)

    def end_stopped(self) -> None:
        """Say that the worker itself stopped it, and why."""
        if self.stop_reason == "released":
            self.disposition = RELEASED
        elif self.stop_reason == "cancelled":
            self.disposition = Dead("cancelled", "an operator cancelled it")
        else:
            self.fail("timeout", "it ran into its timeout")

    def fail(self, reason: str, error: str, after_s: float | None = None) -> None:
        """It failed: it is retried where its type still allows that, after `after_s` or backoff."""
        policy, failed = self.policy, self.delivery.attempts + 1
        if policy is None or not self.retries_left:
            self.disposition = Failed(reason, error)
        else:
            pause_s = policy.pause_s(failed) if after_s is None else after_s
            self.disposition = Retried(reason, error, pause_s)


class Pipeline:
    """The steps of an execution, as the policies say.

    `clock_ms`: the server's Unix time at the latest claim. `paused_types`: types that operators
    have paused; their tasks are set aside.
    """

    def __init__(
        self,
        policies: Policies,
        middleware: Sequence[Middleware] = (),
        max_deliveries: int = sys.maxsize,
    ) -> None:
        self.policies = policies
        self.middleware = tuple(middleware)
        self.max_deliveries = max_deliveries
        self.clock_ms = 0
        self.paused_types: frozenset[str] = frozenset()

    def prepare(self, execution: Execution) -> bool:
        """The steps before the run; False when it has ended, or waits, without one."""
        return self.decode(execution) and self.route(execution) and self.admit(execution)

    def decode(self, execution: Execution) -> bool:
        """Bytes to a task, or invalid."""
        try:
            execution.task = decode(execution.delivery.raw)
        except NotATask as fault:
            execution.disposition = Invalid(fault.reason)
            return False
        asks = execution.task.asks
        if asks is not None and asks.member is not None:
            self.policies.kept_any = True
            self.policies.groups.seen.add(asks.member[0])
        if asks is not None and asks.lists - self.policies.lists:
            execution.task, execution.disposition = None, Invalid("unknown_list")
            return False
        return True

    def route(self, execution: Execution) -> bool:
        """Find the policy of its type, and by it the handler; or held where its type is paused."""
        task, policies = execution.task, self.policies
        assert task is not None
        policy = execution.policy = policies.get(task.type, policies.default)
        deaths = execution.delivery.deliveries
        if deaths >= self.max_deliveries:
            error = f"its worker died {deaths} times while it ran"
            execution.disposition = Dead("poison", error)
            return False
        if self.paused_types and task.type in self.paused_types:
            end = "front" if execution.delivery.returned else "back"
            _wait(execution, Held(aside_name(task.type), end))
            return False
        if policy is None:
            execution.disposition = Failed("no_handler", "no handler takes this type")
            return False
        return True

    def admit(self, execution: Execution) -> bool:
        """Whether its time has come and has not passed."""
        task, policy = execution.task, execution.policy
        assert task is not None and policy is not None
        # What has failed before had its time, even if the clock was set back since.
        if task.run_at is not None and not execution.delivery.attempts:
            due_ms = math.ceil(task.run_at * 1000)  # in milliseconds, as Redis keeps it
            run_now = execution.delivery.requeued_at * 1000 >= due_ms  # as an operator wants it
            if due_ms > self.clock_ms and not run_now:
                _wait(execution, Delayed(due_ms / 1000))
                return False
        if policy.expires_s is not None:
            since = max(task.enqueued_at or 0.0, task.run_at or 0.0)
            # One that was requeued counts from then on.
            waited_s = self.clock_ms / 1000 - max(since, execution.delivery.requeued_at)
            if since and waited_s > policy.expires_s:  # one that carries no time never expires
                error = f"it waited {waited_s:.3f} s, longer than {policy.expires_s:g} s"
                execution.disposition = Dead("expired", error)
                return False
        return True

    def succeed(self, execution: Execution) -> None:
        """What became of a run that returned."""
        task, result = execution.task, execution.result
        execution.result = None
        asks = task.asks if task is not None else None
        if task is None or (asks is None and execution.outbox is None):
            execution.disposition = SUCCEEDED
            return
        passes = asks is not None and asks.passes_result
        value = None
        try:
            if passes or (asks is not None and self.policies.result_ttl_s(task)):
                value = json_of(result, self.policies.results.max_bytes)
            self._refuse_outbox(execution, len(value) if passes and value is not None else 0)
        except Unkeepable as fault:
            execution.fail("result", str(fault))
            return
        follows = execution.outbox or (asks is not None and (asks.then or asks.member))
        keeps = value is not None or follows or tracked(execution)
        execution.disposition = Returned(value or b"null") if keeps else SUCCEEDED

    def _refuse_outbox(self, execution: Execution, passed_bytes: int) -> None:
        """Raises Unkeepable where tasks that follow could not be pushed, or not be taken."""
        most, items = self.policies.max_item_bytes, execution.outbox or []
        unknown = {target for target, _ in items if target} - self.policies.lists
        if unknown:
            raise Unkeepable(f"it enqueued a task to {min(unknown)!r}, not one of queue.lists")
        size = max((len(raw) for _, raw in items), default=0)
        if passed_bytes:  # each of them is shorter than the task that names it
            size = max(size, len(execution.delivery.raw) + passed_bytes + 4096)
        if size > most:
            raise Unkeepable(f"a task that follows would be larger than {most} bytes")

    @staticmethod
    def dispose(execution: Execution, fault: BaseException) -> None:
        """What became of a run that ended with `fault`."""
        kind = type(fault)  # isinstance would ask the exception for its __class__ too
        released = execution.stop_reason == "released"
        if execution.stop_reason and not (released and issubclass(kind, Reject)):
            _stopped(execution, fault)  # whatever it made of its cancellation
        elif issubclass(kind, Reject):
            execution.disposition = Failed("rejected", describe(fault))
        else:  # also SystemExit and KeyboardInterrupt: a task's own doing
            _failed(execution, fault)


def tracked(execution: Execution) -> bool:
    """Whether Redis is told of the state of its task."""
    policy, task = execution.policy, execution.task
    if policy is None or not policy.track or task is None or task.id is None:
        return False
    return len(task.id.encode()) <= MAX_ID_BYTES


def keep_result(execution: Execution, result: Any) -> None:
    """Keep what a handler returned until its end; raises TypeError where it has yet to run."""
    if result is not None:
        refuse_unfinished(result)
        execution.result = result


def _wait(execution: Execution, disposition: Disposition) -> None:
    """It is to wait elsewhere; a unique one is marked before."""
    policy, task = execution.policy, execution.task
    unique = policy is not None and policy.limits is not None and policy.limits.unique
    if unique and task is not None and task.id:
        execution.waits = disposition
    else:
        execution.disposition = disposition


def _failed(execution: Execution, fault: BaseException) -> None:
    again = issubclass(type(fault), Retry)
    execution.fail("error", describe(fault), wait_of(fault) if again else None)
    if execution.trace is None and (isinstance(execution.disposition, Failed) or not again):
        execution.trace = trace(fault)


def _stopped(execution: Execution, fault: BaseException) -> None:
    execution.end_stopped()
    if execution.trace is None and execution.disposition is not RELEASED:
        thread = execution.thread
        execution.trace = stands(thread) if thread is not None else trace(fault)


def arguments_of(execution: Execution) -> tuple[Any, ...]:
    """What its handler's function is called with."""
    policy, task, batch = execution.policy, execution.task, execution.batch
    assert policy is not None and task is not None
    if batch is not None:
        return ([one.task for one in batch.executions],)
    return policy.handler.arguments(task)


async def call_handler(
    execution: Execution,
    arguments: tuple[Any, ...],
    middleware: Sequence[Middleware],
    in_thread: Callable[..., Awaitable[None]],
) -> None:
    """Call a handler inside the middleware, the first of which is the outermost.

    `in_thread(execution, function, arguments)` runs a plain function. Raises what they raise.
    """
    policy = execution.policy
    assert policy is not None
    handler = policy.handler

    async def innermost() -> None:
        if handler.is_sync or policy.run_in is THREAD:
            await in_thread(execution, policy.function, arguments)
        else:
            keep_result(execution, await handler.function(*arguments))

    calls = Calls()
    call = calls.noted(innermost)
    for one in reversed(middleware):
        call = calls.noted(partial(one, Context(execution), call))
    await call()
    calls.refuse_unawaited()


def in_a_task() -> bool:
    """Whether the code that asks is run by a task, and not by what closes a coroutine."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def settlement_of(execution: Execution, redis_time: Callable[[float], float]) -> Settlement:
    """What exchange.lua is told of an execution that has ended.

    `redis_time` takes `time.monotonic()` seconds to Unix seconds by the server's clock.
    """
    task, disposition = execution.task, execution.disposition
    assert disposition is not None
    tag, outcome = execution.delivery.tag, disposition.outcome
    task_type, reason, error = disposition.fields(task.type if task is not None else "")
    run = record = ""
    if task is not None and task.run is not None and disposition.ran:
        run, index = task.run
        start = redis_time(execution.started)
        end = redis_time(execution.ended) if execution.ended else start  # it may end without a run
        deliveries = execution.delivery.deliveries + 1
        worker = tag.partition(":")[0]
        record = f"{index} {outcome.value} {start:.6f} {end:.6f} {worker} {deliveries}"
    settlement = Settlement(tag, outcome, type=task_type, reason=reason, error=error, run=run)
    settlement.record = record
    if isinstance(disposition, Failed) and execution.trace is not None:
        settlement.traceback = execution.trace.text
    return settlement


def newest_first(execution: Execution) -> tuple[float, int]:
    """The order in which released tasks go to the front, each before those that went there."""
    return -execution.taken, -int(execution.delivery.tag.rpartition(":")[2])
