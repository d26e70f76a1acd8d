"""Test a handler as the worker would run it, without Redis: run one task, see what became of it.

The task is decoded, looked up, timed out and judged by the code that does so in the worker.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple

from taskrig.authoring.context import Process, process, running
from taskrig.authoring.extras import Middleware
from taskrig.authoring.registry import Handler, Registry, handlers_of
from taskrig.config.sections import TaskConfig
from taskrig.engine.execution import Execution, Pipeline, call_handler
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
    registry = Registry()
    types = [entry.type for entry in handlers_of(function)]
    if not types:
        raise ValueError(f"{function!r} is not a handler: decorate it with @handler")
    try:
        for entry in handlers_of(function):
            registry.add(Handler(entry.type, function, entry.options, entry.place))
    except UsageError as fault:
        raise ValueError(str(fault)) from None
    name = type or types[0]
    raw = json.dumps({"type": name, "data": {} if data is None else data, **fields}).encode()
    settings_by_type = {name: settings} if settings is not None else {}
    pipeline = Pipeline(Policies(registry, settings_by_type), middleware)
    pipeline.clock_ms = round((time.time() if now is None else now) * 1000)
    execution = Execution(Delivery("test:1", raw, delivery - 1, attempt - 1))
    took_s = 0.0
    if pipeline.prepare(execution):
        took_s = await _run(pipeline, execution, draining)
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
    policy, task = execution.policy, execution.task
    assert policy is not None and task is not None
    arguments = policy.handler.arguments(task)

    async def inside() -> None:
        worker = Process()
        worker.draining = draining
        process.set(worker)
        running.set(execution)
        try:
            await call_handler(execution, arguments, pipeline.middleware, _in_thread)
            if execution.disposition is None:
                pipeline.succeed(execution)
        except BaseException as fault:
            if execution.disposition is None:
                pipeline.dispose(execution, fault)

    began = loop.time()
    execution.started = time.monotonic()
    work = loop.create_task(inside())  # a task of its own: the test keeps its context
    if policy.timeout_s is not None:
        execution.deadline = execution.started + policy.timeout_s
        loop.call_later(policy.timeout_s, _time_out, execution, work)
    await asyncio.wait([work])
    if execution.disposition is None:
        execution.end_stopped()
    return loop.time() - began


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
