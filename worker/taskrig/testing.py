"""Test a handler as the worker would run it, without Redis: run a task or a batch, and see what
became of it.

The task is decoded, looked up, timed out and judged by the code that does so in the worker.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

from taskrig.authoring.context import Process, process, running
from taskrig.authoring.extras import Middleware
from taskrig.authoring.registry import Handler, Registry, handlers_of
from taskrig.config.sections import TaskConfig
from taskrig.engine.batches import judge
from taskrig.engine.execution import Batch, Execution, Pipeline, arguments_of, call_handler
from taskrig.engine.policies import Policies
from taskrig.engine.threads import THREAD_NAME, Call
from taskrig.errors import UsageError
from taskrig.task import Delivery

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one task. `outcome` is succeeded, failed, retried, dead, delayed or invalid.

    `reason`, `error` and `traceback` are what a dead letter would say; `retry_after_s` is the wait
    of a retried task in seconds, `took_s` the handler's time by the event loop's clock.
    """

    outcome: str
    reason: str = ""
    error: str = ""
    retry_after_s: float | None = None
    took_s: float = 0.0
    traceback: str = ""

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.outcome == "succeeded"


async def run_task(
    function: Callable[..., Any],
    data: Any = None,
    *,
    type: str | None = None,  # noqa: A002 - public
    attempt: int = 1,
    delivery: int = 1,
    draining: bool = False,
    now: float | None = None,
    settings: TaskConfig | None = None,
    middleware: Sequence[Middleware] = (),
    **fields: Any,
) -> Ran:
    """Run one task with a handler and say what became of it. Limits per type do not apply.

    Args:
        function: a function with @handler.
        data: the task's data, any JSON value; {} when None.
        type: which of its types, where it has several; needed for a default handler.
        attempt: the context's `attempts`: 2 is the first retry.
        delivery: the context's `deliveries`: 2 when one worker died while it ran.
        draining: whether the handler's worker drains.
        now: the server's clock in Unix seconds, which `run_at` and `expires` are judged by.
        settings: what config.yaml would say of the type; it goes before the decorator.
        middleware: what runs around the handler, outermost first.
        fields: more of the task: id, enqueued_at, run_at, ...

    Raises:
        ValueError: `function` is not a handler or cannot be called as one, or the data is not JSON.
    """
    name, pipeline = _pipeline(function, type, settings, middleware, now)
    given = [({} if data is None else data, fields)]
    (ran,) = await _run_all(pipeline, name, given, (attempt, delivery), draining)
    return ran


async def run_batch(
    function: Callable[..., Any],
    data: Sequence[Any],
    *,
    type: str | None = None,  # noqa: A002 - public
    attempt: int = 1,
    delivery: int = 1,
    draining: bool = False,
    now: float | None = None,
    settings: TaskConfig | None = None,
    middleware: Sequence[Middleware] = (),
    fields: Sequence[Mapping[str, Any]] = (),
) -> list[Ran]:
    """Run a batch with a handler that takes batches and say what became of each task.

    Args:
        data: the data of each task.
        fields: more of each task, in the same order: id, enqueued_at, ...

    The others as in `run_task`. A task that would not run now is not in the list that the handler
    gets.

    Raises:
        ValueError: `function` is not a handler that takes batches, or the data is not JSON.
    """
    name, pipeline = _pipeline(function, type, settings, middleware, now)
    policy = pipeline.policies.find(name)
    if policy is None or policy.batch is None:
        raise ValueError(f"{function!r} takes one task: declare it with @handler(..., batch=...)")
    given = list(zip(data, [*fields, *[{}] * (len(data) - len(fields))], strict=True))
    return await _run_all(pipeline, name, given, (attempt, delivery), draining)


def _pipeline(
    function: Callable[..., Any],
    task_type: str | None,
    settings: TaskConfig | None,
    middleware: Sequence[Middleware],
    now: float | None,
) -> tuple[str, Pipeline]:
    """The type of the tasks, and what runs them."""
    registry = Registry()
    types = [entry.type for entry in handlers_of(function)]
    if not types:
        raise ValueError(f"{function!r} is not a handler: decorate it with @handler")
    name = task_type or types[0]
    try:
        for entry in handlers_of(function):
            registry.add(Handler(entry.type, function, entry.options, entry.place))
        policies = Policies(registry, {name: settings} if settings is not None else {})
        policies.batched()
    except UsageError as fault:
        raise ValueError(str(fault)) from None
    pipeline = Pipeline(policies, middleware)
    pipeline.clock_ms = round((time.time() if now is None else now) * 1000)
    return name, pipeline


async def _run_all(
    pipeline: Pipeline,
    name: str,
    given: Sequence[tuple[Any, Mapping[str, Any]]],
    counts: tuple[int, int],
    draining: bool,
) -> list[Ran]:
    """Run one task, or a batch of them. `counts`: the context's attempts and deliveries."""
    attempt, delivery = counts
    executions = []
    for number, (data, fields) in enumerate(given, 1):
        raw = json.dumps({"type": name, "data": data, **fields}).encode()
        executions.append(Execution(Delivery(f"test:{number}", raw, delivery - 1, attempt - 1)))
    ready = [one for one in executions if pipeline.prepare(one)]
    took_s = 0.0
    if ready:
        policy = ready[0].policy
        if policy is not None and policy.batch is not None:
            ready[0].batch = Batch(ready)
        took_s = await _run(pipeline, ready[0], draining)
    return [_ran(one, took_s if one in ready else 0.0) for one in executions]


def _ran(execution: Execution, took_s: float) -> Ran:
    # The id of a unique one would be looked at, and nobody else has one here.
    disposition = execution.disposition or execution.waits
    assert disposition is not None
    return Ran(
        disposition.outcome.value,
        getattr(disposition, "reason", ""),
        getattr(disposition, "error", ""),
        getattr(disposition, "after_s", None),
        took_s,
        execution.trace.text if execution.trace is not None else "",
    )


async def _run(pipeline: Pipeline, execution: Execution, draining: bool) -> float:
    loop = asyncio.get_running_loop()
    policy = execution.policy
    assert policy is not None
    arguments = arguments_of(execution)

    async def inside() -> None:
        worker = Process()
        worker.draining = draining
        process.set(worker)
        running.set(execution)
        fault: BaseException | None = None
        try:
            await call_handler(execution, arguments, pipeline.middleware, _in_thread)
        except BaseException as raised:
            fault = raised
        _judge(pipeline, execution, fault)

    began = loop.time()
    execution.started = time.monotonic()
    work = loop.create_task(inside())  # a task of its own: the test keeps its context
    if policy.timeout_s is not None:
        execution.deadline = execution.started + policy.timeout_s
        loop.call_later(policy.timeout_s, _time_out, execution, work)
    await asyncio.wait([work])
    if execution.disposition is None:  # it was stopped before its first step
        _judge(pipeline, execution, asyncio.CancelledError())
    return loop.time() - began


def _judge(pipeline: Pipeline, execution: Execution, fault: BaseException | None) -> None:
    if execution.batch is not None:
        judge(execution, fault, pipeline)
    elif fault is None:
        pipeline.succeed(execution)
    else:
        pipeline.dispose(execution, fault)


def _resolve(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


async def _in_thread(
    execution: Execution, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Run a plain function in a thread of its own; raises what it raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    call = Call(execution, function, arguments, copy_context(), lambda *_: None)

    def body() -> None:
        call.context.run(call.run)
        loop.call_soon_threadsafe(_resolve, done)

    threading.Thread(target=body, daemon=True, name=f"{THREAD_NAME}test").start()
    await done
    if call.fault is not None:
        raise call.fault


def _time_out(execution: Execution, work: asyncio.Task[None]) -> None:
    if not work.done():
        execution.stop_reason = "timeout"
        work.cancel()


def in_fake_time(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own whose clock jumps over every wait.

    `asyncio.sleep(600)` and a timeout of ten minutes take no time. Only the loop's clock is
    faked: `time.time()`, threads and sockets are as they are, and while a thread of the loop or
    of a plain handler works, the clock runs as ever.
    """
    loop = _FakeTimeLoop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


class _FakeTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipped_s = 0.0
        self._in_threads = 0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return super().time() + self._skipped_s

    def run_in_executor(
        self, executor: Any, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._left_thread)
        return future

    def _left_thread(self, future: asyncio.Future[Any]) -> None:
        self._in_threads -= 1

    @property
    def waits_for_a_thread(self) -> bool:
        return self._in_threads > 0 or any(
            thread.name.startswith(THREAD_NAME) for thread in threading.enumerate()
        )

    def jump(self, seconds: float) -> None:
        self._skipped_s += seconds


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: _FakeTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0 or self._loop.waits_for_a_thread:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self._loop.jump(timeout)
        return ready
