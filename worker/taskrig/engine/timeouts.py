"""Notices tasks that run into their timeouts, and threads that outlive them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from taskrig.engine.capacity import Capacity
from taskrig.engine.execution import Execution
from taskrig.engine.inbox import Inbox
from taskrig.metrics import Metrics

SWEEP_S = 0.05  # how late a timeout may be noticed; one sweep for all, no timer per task


class Timeouts:
    """Sweeps through what runs, for as long as something that runs has a timeout."""

    def __init__(
        self,
        capacity: Capacity,
        inbox: Inbox,
        metrics: Metrics,
        stop: Callable[[Execution, str], None],
    ) -> None:
        """`stop` asks a handler to end, for the reason "timeout"."""
        self._capacity = capacity
        self._inbox = inbox
        self._metrics = metrics
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._sweeping = False

    def watch(self) -> None:
        """A task with a deadline has begun."""
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        now = time.monotonic()
        self._sweeping = False
        for execution in list(self._capacity.running.values()):
            if execution.deadline is None:
                continue
            if execution.deadline <= now:
                self._stop(execution, "timeout")
            else:
                self._sweeping = True
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    def watch_thread(self, execution: Execution) -> None:
        """Its thread goes on without it. A thread cannot be stopped: it keeps its slot."""
        overdue = self._capacity.overdue
        if not overdue:
            self._loop.call_later(SWEEP_S, self._check_threads)
        overdue.add(execution)
        self._metrics.overdue_threads = len(overdue)

    def _check_threads(self) -> None:
        overdue = self._capacity.overdue
        for execution in [one for one in overdue if one.thread is None]:
            overdue.discard(execution)
            self._inbox.wake()
        self._metrics.overdue_threads = len(overdue)
        if overdue:
            self._loop.call_later(SWEEP_S, self._check_threads)
