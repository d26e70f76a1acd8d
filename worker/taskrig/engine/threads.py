"""Kept threads that run plain functions: a call costs a hand-over, not a thread.

A thread cannot be stopped. One whose task has outlived its timeout ends that call first, and takes
no other until then. All are daemons: none can hold the exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

import msgspec

from taskrig.engine.execution import Execution, keep_result
from taskrig.errors import describe
from taskrig.runtime import forked

log = logging.getLogger("taskrig")

THREAD_NAME = "task-"  # how the name of such a thread begins
IDLE_S = 60.0  # a thread without work for this long ends
END_S = 2.0  # how long idle threads may take to close what they keep


class Call(msgspec.Struct, eq=False):
    """One call of a plain function. `done` is called in the event loop with what it raised."""

    execution: Execution
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    context: Context
    done: Callable[[Execution, BaseException | None], None]
    fault: BaseException | None = None

    def run(self) -> None:
        """In the thread: call, and keep what it raises."""
        try:
            keep_result(self.execution, self.function(*self.arguments))
        except BaseException as fault:
            self.fault = fault
        if forked.child:
            forked.leave(self.fault)


class Threads:
    """As many threads as there were calls at once, started when they are needed."""

    def __init__(self, at_thread_end: Callable[[], None] | None = None) -> None:
        """`at_thread_end` is called in each of the threads before it ends."""
        self._at_thread_end = at_thread_end
        self._loop = asyncio.get_running_loop()
        self._calls: deque[Call] = deque()
        self._ended: deque[Call] = deque()
        self._idle: deque[threading.Lock] = deque()  # each holds up one thread; the latest first
        self._rousing = False  # a thread is on its way to the calls that wait
        self._waking = False  # the event loop will look at `_ended`; written by threads too
        self._closing = False
        self._count = 0
        self._alive: set[threading.Thread] = set()

    def submit(self, call: Call) -> None:
        """Have a thread run it; in the event loop only."""
        self._calls.append(call)
        if not self._rousing:
            self._rouse()

    def _rouse(self) -> None:
        """Send one thread to the calls. It sends the next one before it runs its first: so many
        short calls wake few threads, and none waits behind a long one."""
        self._rousing = True
        try:
            self._idle.pop().release()
        except IndexError:
            self._start()

    def _start(self) -> None:
        self._count += 1
        name = f"{THREAD_NAME}{self._count}"
        thread = threading.Thread(target=self._live, daemon=True, name=name)
        self._alive.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more are to be had: those that are here get to the call
            self._alive.discard(thread)
            self._rousing = False
            if not self._alive:
                raise

    def _live(self) -> None:
        thread = threading.current_thread()
        try:
            self._work(thread)
            if self._at_thread_end is not None:
                self._at_thread_end()
        except Exception as fault:
            log.error("%s did not end well: %s", thread.name, describe(fault))
        finally:
            self._alive.discard(thread)

    def _work(self, thread: threading.Thread) -> None:
        gate = threading.Lock()
        gate.acquire()
        while True:
            self._rousing = False
            while (call := self._next()) is not None:
                execution = call.execution
                execution.thread = thread  # before the question: whoever gives it up then sees us
                if execution.disposition is None:
                    call.context.run(call.run)
                execution.thread = None
                self._ended.append(call)
                del call, execution  # what it raised holds frames: not until the next call
                if not self._waking:
                    self._waking = True
                    try:
                        self._loop.call_soon_threadsafe(self._hand_over)
                    except RuntimeError:
                        return  # the loop has ended; nobody waits any more
            if not self._wait(gate):
                return

    def _next(self) -> Call | None:
        try:
            call = self._calls.popleft()
        except IndexError:
            return None
        if self._calls and not self._rousing:
            self._rouse()
        return call

    def _wait(self, gate: threading.Lock) -> bool:
        """Until there are calls again; False when the thread is to end."""
        self._idle.append(gate)
        if not self._calls and not self._closing and gate.acquire(timeout=IDLE_S):
            return not self._closing
        try:
            self._idle.remove(gate)
        except ValueError:  # roused at this moment
            gate.acquire()
            return True
        return bool(self._calls)

    async def close(self) -> None:
        """End the threads that have no call, where they keep something that is to be closed."""
        if self._at_thread_end is None:
            return
        self._closing = True
        busy = len(self._alive)
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().release()
                busy -= 1
        for _ in range(int(END_S * 100)):
            if len(self._alive) > busy:
                await asyncio.sleep(0.01)

    async def call(
        self, execution: Execution, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        """Run a plain function for a coroutine that waits; raises what it raises."""
        done: asyncio.Future[BaseException | None] = self._loop.create_future()

        def resolve(_: Execution, fault: BaseException | None) -> None:
            if not done.done():
                done.set_result(fault)

        self.submit(Call(execution, function, arguments, copy_context(), resolve))
        fault = await done
        if fault is not None:
            raise fault

    def _hand_over(self) -> None:
        """In the event loop: one wake-up for all calls that have ended since the last."""
        if forked.child:
            forked.leave_loop()
        self._waking = False
        while self._ended:
            call = self._ended.popleft()
            call.done(call.execution, call.fault)
