"""Starts and stops the handlers of the tasks in hand, and knows when one will not stop.

Only handler tasks are ever cancelled, and only here.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

from taskrig.authoring.context import running
from taskrig.authoring.options import PROCESS, THREAD
from taskrig.authoring.registry import Handler
from taskrig.engine.batches import Batches, judge
from taskrig.engine.capacity import Capacity
from taskrig.engine.dispositions import RELEASED, SUCCEEDED
from taskrig.engine.events import Events, log
from taskrig.engine.execution import (
    Execution,
    Pipeline,
    arguments_of,
    call_handler,
    in_a_task,
    tracked,
)
from taskrig.engine.inbox import Fail, Inbox
from taskrig.engine.processes import Processes
from taskrig.engine.threads import Call, Threads
from taskrig.engine.timeouts import Timeouts
from taskrig.engine.unfinished import refuse_unfinished
from taskrig.runtime import forked
from taskrig.task import Delivery

STUBBORN_S = 1.0  # how long a cancelled handler may take to end before it is left behind


class Elsewhere(NamedTuple):
    """Where tasks go that do not begin at once in the event loop. Only some workers have processes,
    or handlers that take batches."""

    threads: Threads
    processes: Processes | None
    batches: Batches | None = None

    async def close(self) -> None:
        """Everything has ended: let threads and processes close what they keep."""
        if self.processes is not None:
            await self.processes.close()
        await self.threads.close()


class Runner:
    """Runs what it is given; each execution ends up, with its disposition, in `inbox.ended`.

    `limited` takes what must be let through first: the limiter then calls `begin` or `refuse`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        capacity: Capacity,
        inbox: Inbox,
        events: Events,
        elsewhere: Elsewhere,
        max_deliveries: int,
    ) -> None:
        self.pipeline = pipeline
        self.capacity = capacity
        self.events = events
        self.limited: list[Execution] = []
        self.left_behind: list[asyncio.Task[None]] = []  # that swallowed their cancellation
        self._inbox = inbox
        self._max_deliveries = max_deliveries
        self._loop = asyncio.get_running_loop()
        self.elsewhere = elsewhere
        self._spawn = _spawner(self._loop)
        self._taken: list[Execution] = []  # hold slots, begin in the loop's next turn
        self._timeouts = Timeouts(capacity, inbox, events.metrics, self.stop)

    def take(self, delivery: Delivery) -> None:
        """Give a delivery a slot; its handler starts in the event loop's next turn.

        By then the consumer has sent its next exchange, and Redis works while handlers run. When
        nothing is to be claimed any more, it is given back.
        """
        execution = Execution(delivery)
        if not self.capacity.claiming:  # the drain began while this claim was under way
            execution.disposition = RELEASED
            self._inbox.ended.append(execution)
            self._inbox.wake()
            return
        execution.taken = execution.started = time.monotonic()
        self.capacity.running[delivery.tag] = execution
        times = delivery.deliveries
        if times > 0 and times + 1 == self._max_deliveries:
            # On its last delivery nothing runs beside it: it may take its neighbours along.
            self.capacity.alone = execution
        if not self._taken:
            self._loop.call_soon(self._begin_taken)
        self._taken.append(execution)

    def _begin_taken(self) -> None:
        if forked.child:
            forked.leave_loop()
        taken, self._taken = self._taken, []
        for execution in taken:
            try:
                self._prepare(execution)
            except Exception as fault:
                self._inbox.order(Fail(fault))

    def _prepare(self, execution: Execution) -> None:
        """Decode a delivery and start its handler."""
        if execution.disposition is not None:
            return  # released meanwhile
        ready = self.pipeline.prepare(execution)
        policy = execution.policy
        if execution.waits is not None or (
            ready and policy is not None and policy.limits is not None
        ):
            self.limited.append(execution)
            self._inbox.wake()
        elif ready:
            self.begin(execution)
        else:
            self.refuse(execution)

    def begin(self, execution: Execution) -> None:
        """Start the handler."""
        policy, task, events = execution.policy, execution.task, self.events
        assert policy is not None and task is not None
        if policy.batch is not None and execution.batch is None:
            batches = self.elsewhere.batches
            assert batches is not None
            if batches.gather(execution):
                return  # it begins when its batch does
        processes = self.elsewhere.processes if policy.run_in is PROCESS else None
        if processes is not None and processes.slots.keep_waiting(execution):
            return
        execution.started = time.monotonic()
        if policy.timeout_s is not None:
            execution.deadline = execution.started + policy.timeout_s
            self._timeouts.watch()
        execution.numbers = policy.numbers
        policy.numbers.in_flight += 1
        events.begun += 1
        if policy.track:
            self._inbox.begun += filter(tracked, execution.each)
            self._inbox.wake()
        if execution.batch is not None:
            events.batch_started(execution, len(self.capacity.running))
        elif events.sample or task.enqueued_at is not None:
            events.started(execution, len(self.capacity.running))
        handler = policy.handler
        arguments = (task.data,) if handler.takes_data else arguments_of(execution)
        if processes is not None:
            processes.run(execution, self._end_in_process)
            return
        if policy.run_in is THREAD and not self.pipeline.middleware:
            variables = copy_context()
            variables.run(running.set, execution)
            call = Call(execution, policy.function, arguments, variables, self._end)
            self.elsewhere.threads.submit(call)
            return
        work = self._spawn(self._run(execution, handler, arguments))
        if not work.done():
            if forked.child:
                forked.leave_loop()
            execution.work = work

    async def _run(
        self, execution: Execution, handler: Handler, arguments: tuple[Any, ...]
    ) -> None:
        """The asyncio task of one handler."""
        fault: BaseException | None = None
        try:
            running.set(execution)
            if self.pipeline.middleware:
                middleware = self.pipeline.middleware
                in_thread = self.elsewhere.threads.call
                await call_handler(execution, arguments, middleware, in_thread)
            else:
                result = await handler.function(*arguments)
                if result is not None:
                    refuse_unfinished(result)
                    execution.result = result
        except GeneratorExit as thrown:
            if not in_a_task():
                raise  # the loop has ended, and this coroutine is being closed
            fault = thrown  # a task that the handler awaited had raised it
        except BaseException as raised:
            fault = raised
        self._end(execution, fault)

    def _end(self, execution: Execution, fault: BaseException | None) -> None:
        """A handler has ended: with an error, or without."""
        if forked.child:
            forked.leave(fault)
        if execution.disposition is not None:
            return  # it was given up before
        try:
            if execution.batch is not None:
                judge(execution, fault, self.pipeline)
            elif fault is not None:
                self.pipeline.dispose(execution, fault)
            elif execution.outbox is None and (
                execution.task is None or execution.task.asks is None
            ):
                execution.disposition = SUCCEEDED
            else:
                self.pipeline.succeed(execution)
            self._ended(execution)
        except Exception as bug:
            self._inbox.order(Fail(bug))

    def _end_in_process(self, execution: Execution) -> None:
        """A process is free again: its task has its disposition."""
        try:
            self._ended(execution)
            processes = self.elsewhere.processes
            while processes is not None and (waiting := processes.slots.next()) is not None:
                self.begin(waiting)
        except Exception as bug:
            self._inbox.order(Fail(bug))

    def _ended(self, execution: Execution) -> None:
        capacity, numbers = self.capacity, execution.numbers
        if execution.delivery.tag not in capacity.running:
            return  # left behind earlier, and settled as released
        execution.ended = time.monotonic()
        if execution.thread is not None:
            self._timeouts.watch_thread(execution)
        if numbers is not None:
            numbers.in_flight -= 1
            numbers.duration.observe(execution.ended - execution.started)
        if execution.batch is not None:
            self.events.batch_ended(execution)
        elif execution.number or execution.disposition is not SUCCEEDED:
            self.events.ended(execution)
        self._put_by(execution)

    def refuse(self, execution: Execution) -> None:
        """It ended without a run."""
        self.events.unrun(execution)
        self._put_by(execution)

    def _put_by(self, execution: Execution) -> None:
        capacity = self.capacity
        del capacity.running[execution.delivery.tag]
        execution.work = None  # its context holds the execution: a cycle would wait for the gc
        if execution is capacity.alone:
            capacity.alone = None
        if execution.disposition is not None and execution.disposition.counted:
            capacity.counted += 1
        if execution.batch is not None and self.elsewhere.batches is not None:
            self.elsewhere.batches.ended(execution)
        self._inbox.ended.append(execution)
        self._inbox.wake()

    # -- stopping --------------------------------------------------------------------------------

    def stop(self, execution: Execution, reason: str) -> None:
        """Ask a handler to stop: "timeout", "released" or "cancelled"."""
        work = execution.work
        if execution.stop_reason or execution.disposition is not None:
            return
        if work is not None:
            execution.stop_reason = reason
            # A task cancelled before its first step runs none of its code: hence the callback.
            work.add_done_callback(lambda _: self._end(execution, asyncio.CancelledError()))
            work.cancel()
        elif execution.process is not None and self.elsewhere.processes is not None:
            execution.stop_reason = reason
            self.elsewhere.processes.stop(execution.process, reason)  # its end is told later
        elif execution.numbers is not None:  # in a thread, which cannot be stopped
            execution.stop_reason = reason
            self._end(execution, asyncio.CancelledError())
        elif reason == "released":  # not yet begun, or not let through by the limiter
            execution.disposition = RELEASED
            self._put_by(execution)

    def release(self) -> None:
        """Stop all that runs; what has not stopped after STUBBORN_S is left behind."""
        for execution in list(self.capacity.running.values()):
            self.stop(execution, "released")
        self._loop.call_later(STUBBORN_S, self._leave_behind)

    def cancel(self, tag: str) -> None:
        """An operator's wish; it comes with every exchange until the task has been settled."""
        execution, batches = self.capacity.running.get(tag), self.elsewhere.batches
        if execution is None and batches is not None:
            execution = batches.cancel(tag)
        if execution is not None and execution.batch is not None:
            execution.batch.cancelled.add(tag)
        if execution is not None and not execution.stop_reason and execution.numbers is not None:
            log.warning("cancelling task %s: an operator asked for it", tag)
            self.stop(execution, "cancelled")

    def _leave_behind(self) -> None:
        for execution in list(self.capacity.running.values()):
            if execution.work is not None and execution.thread is None:
                self.left_behind.append(execution.work)
            execution.disposition = RELEASED
            self._ended(execution)


def _spawner(loop: asyncio.AbstractEventLoop) -> Callable[..., asyncio.Task[None]]:
    """How a handler's task is made: run up to its first wait at once where Python can (3.12),
    else from the loop's next turn."""
    if sys.version_info >= (3, 12):
        return partial(asyncio.Task, loop=loop, eager_start=True)
    return loop.create_task
