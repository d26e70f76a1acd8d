"""Says which handlers hold the event loop: while one does, nothing else of its worker goes on.

A thread looks where the loop's thread stands once the loop is late, so that nothing is measured
around handlers.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from taskrig.engine.events import log
from taskrig.engine.execution import Execution
from taskrig.engine.runner import Runner
from taskrig.runtime.once import Once

HELD_S = 0.1  # a handler that holds the loop for longer is told of
LOOK_S = 0.05  # how often a loop that turns is looked at
LOOK_CLOSELY_S = 0.01  # one that does not turn
TOLD_S = 2.0  # of one that goes on for longer is told now

_RUN = Runner._run.__code__  # the coroutine whose frame knows the execution


class LoopWatch:
    """Watches the event loop of the thread that makes it, until `stop`."""

    def __init__(self, turned_at: Callable[[], float], beat_s: float) -> None:
        """`turned_at`: when the loop's latest beat was, of which one is due every `beat_s`."""
        self._turned_at = turned_at
        self._late_s = beat_s + LOOK_CLOSELY_S
        self._loop_thread = threading.get_ident()
        self._stopped = threading.Event()
        self._once = Once()
        threading.Thread(target=self._watch, daemon=True, name="loop-watch").start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _watch(self) -> None:
        looked_at, since, holder = time.monotonic(), 0.0, None
        wait_s = LOOK_S
        while not self._stopped.wait(wait_s):
            now, turned_at = time.monotonic(), self._turned_at()
            late = now - turned_at > self._late_s
            seen = self._holder() if late else None
            if holder is not None and (seen is not holder or now - since > TOLD_S):
                self._tell(holder, (looked_at if seen is not holder else now) - since)
                holder = None
            if seen is not None and holder is None:
                # C code may have kept this thread from looking too.
                holder, since = seen, max(looked_at, seen.started, turned_at)
            looked_at, wait_s = now, LOOK_CLOSELY_S if late else LOOK_S

    def _holder(self) -> Execution | None:
        frame: FrameType | None = sys._current_frames().get(self._loop_thread)
        while frame is not None:
            if frame.f_code is _RUN:
                execution: Execution = frame.f_locals["execution"]
                return execution
            frame = frame.f_back
        return None

    def _tell(self, execution: Execution, held_s: float) -> None:
        policy = execution.policy
        if held_s < HELD_S or policy is None:
            return
        ending = self._once.says(policy.label)
        if ending is not None:
            log.warning(
                "%s, the handler of %s, held the event loop for %.2f s, in which nothing else of "
                'this worker ran: give it run_in="thread", or "process" where it computes (%s)',
                *(policy.handler.name, policy.label, held_s, ending),
            )
