"""The tasks in this worker's hands: start them, stop them, know when one will not stop.

Only handler tasks are ever cancelled, and only here.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from functools import partial

from worker import forked
from worker.executor import Execution, Executor
from worker.journal import Journal, log
from worker.task import Delivery, Outcome

SWEEP_S = 0.05  # how late a timeout may be noticed; one sweep for all, no timer per task
STUBBORN_S = 1.0  # how long a cancelled handler may take to end before it is left behind


class Slots:
    """At most `limit` executions at once; each ends up, with its outcome, at `ended`."""

    def __init__(
        self,
        limit: int,
        executor: Executor,
        journal: Journal,
        gated: Callable[[Execution], None],
        ended: Callable[[Execution], None],
        freed: Callable[[], None],
        broke: Callable[[BaseException], None],
    ) -> None:
        """`gated` is given what has limits, and calls `admit` or `refuse`. `freed` is called when
        a slot gets free without a task ending; `broke` with an error that is the worker's own."""
        self._limit = limit
        self._executor = executor
        self._journal = journal
        self._say_gated = gated
        self._say_ended, self._say_freed, self._say_broke = ended, freed, broke
        self._loop = asyncio.get_running_loop()
        self._spawn = _spawner(self._loop)
        self._taken: list[Execution] = []  # hold slots, begin in the loop's next turn
        self._overdue: set[Execution] = set()  # plain functions that outlived their timeout
        self._sweeping = False
        self.running: dict[str, Execution] = {}
        self.alone: Execution | None = None  # runs with nothing beside it
        self.left_behind = 0  # handlers that swallowed their cancellation

    @property
    def free(self) -> int:
        """Slots that can take a task now."""
        return 0 if self.alone else self._limit - len(self.running) - len(self._overdue)

    @property
    def unstoppable(self) -> int:
        """Handlers and threads that still run although their tasks have ended here."""
        return self.left_behind + len(self._overdue)

    def take(self, delivery: Delivery, alone: bool) -> None:
        """Give a delivery a slot; its handler starts in the event loop's next turn.

        By then the consumer has sent its next exchange, and Redis works while handlers run.
        """
        execution = Execution(delivery)
        execution.taken = execution.started = time.monotonic()
        self.running[delivery.tag] = execution
        if alone:
            self.alone = execution
        if not self._taken:
            self._loop.call_soon(self._begin_taken)
        self._taken.append(execution)

    def _begin_taken(self) -> None:
        taken, self._taken = self._taken, []
        for execution in taken:
            try:
                self._prepare(execution)
            except Exception as fault:
                self._say_broke(fault)

    def _prepare(self, execution: Execution) -> None:
        """Decode a delivery and start its handler."""
        if execution.outcome is not None:
            return  # released meanwhile
        execution.started = time.monotonic()
        ready = self._executor.prepare(execution)
        plan = execution.plan
        if execution.waits is not None:
            self._say_gated(execution)
        elif not ready:
            self.refuse(execution)
        elif plan is not None and plan.limits is not None:
            self._say_gated(execution)
        else:
            self._begin(execution)

    def admit(self, execution: Execution) -> None:
        """Start the handler of a task that had to be let through first."""
        execution.started = time.monotonic()
        self._begin(execution)

    def _begin(self, execution: Execution) -> None:
        plan = execution.plan
        if plan is not None and plan.timeout_s is not None:
            execution.deadline = execution.started + plan.timeout_s
        self._journal.started(execution, len(self.running))
        if execution.deadline is not None and not self._sweeping:
            self._sweeping = True
            self._loop.call_later(SWEEP_S, self._sweep)
        work = self._spawn(self._run(execution))
        if not work.done():
            if forked.child:
                forked.leave_loop()
            execution.work = work

    async def _run(self, execution: Execution) -> None:
        try:
            await self._executor.run(execution)
            self._ended(execution)
        except GeneratorExit:
            if execution.outcome is None:
                raise  # the loop has ended, and this coroutine is being closed
            self._ended(execution)  # a task that the handler awaited had raised it
        except BaseException as fault:
            self._say_broke(fault)

    def _ended(self, execution: Execution) -> None:
        if execution.delivery.tag not in self.running:
            return  # left behind earlier, and settled as released
        execution.ended = time.monotonic()
        if execution.thread is not None and execution.thread.is_alive():
            self._watch_thread(execution)
        self._journal.ended(execution)
        self._put_by(execution)

    def refuse(self, execution: Execution) -> None:
        """It ended without a run."""
        self._journal.unrun(execution)
        self._put_by(execution)

    def _put_by(self, execution: Execution) -> None:
        del self.running[execution.delivery.tag]
        execution.work = None  # its context holds the execution: a cycle would wait for the gc
        if execution is self.alone:
            self.alone = None
        self._say_ended(execution)

    # -- stopping --------------------------------------------------------------------------------

    def release(self) -> None:
        """Cancel all that runs; what has not stopped after STUBBORN_S is left behind."""
        for execution in list(self.running.values()):
            if execution.work is None and execution.outcome is None:
                execution.end(Outcome.RELEASED)  # not yet begun, or not let through the gate
                self._put_by(execution)
            self._stop(execution, "released")
        self._loop.call_later(STUBBORN_S, self._leave_behind)

    def cancel(self, tag: str) -> None:
        """An operator's wish; it comes with every exchange until the task has been settled."""
        execution = self.running.get(tag)
        if execution is not None and not execution.stop_reason:
            log.warning("cancelling task %s: an operator asked for it", tag)
            self._stop(execution, "cancelled")

    def _leave_behind(self) -> None:
        for execution in list(self.running.values()):
            self.left_behind += 1
            execution.end(Outcome.RELEASED)
            self._ended(execution)

    def _stop(self, execution: Execution, reason: str) -> None:
        work = execution.work
        if execution.stop_reason or work is None:
            return
        execution.stop_reason = reason
        # A task cancelled before its first step runs none of its code: hence the callback.
        work.add_done_callback(lambda _: self._stopped_unstarted(execution))
        work.cancel()

    def _stopped_unstarted(self, execution: Execution) -> None:
        if execution.outcome is None:
            execution.end_stopped()
            self._ended(execution)

    def _sweep(self) -> None:
        """Stop what ran into its timeout; one sweep for all running tasks."""
        now = time.monotonic()
        self._sweeping = False
        for execution in list(self.running.values()):
            if execution.deadline is None:
                continue
            if execution.deadline <= now:
                self._stop(execution, "timeout")
            else:
                self._sweeping = True
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    def _watch_thread(self, execution: Execution) -> None:
        """A thread cannot be stopped: it keeps its slot until it ends."""
        if not self._overdue:
            self._loop.call_later(SWEEP_S, self._check_threads)
        self._overdue.add(execution)
        self._journal.metrics.overdue_threads = len(self._overdue)

    def _check_threads(self) -> None:
        for execution in [e for e in self._overdue if e.thread is None or not e.thread.is_alive()]:
            self._overdue.discard(execution)
            self._say_freed()
        self._journal.metrics.overdue_threads = len(self._overdue)
        if self._overdue:
            self._loop.call_later(SWEEP_S, self._check_threads)


def _spawner(loop: asyncio.AbstractEventLoop) -> Callable[..., asyncio.Task[None]]:
    """How a handler's task is made: run up to its first wait at once where Python can (3.12),
    else from the loop's next turn."""
    if sys.version_info >= (3, 12):
        return partial(asyncio.Task, loop=loop, eager_start=True)
    return loop.create_task
