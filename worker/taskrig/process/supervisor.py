"""`worker run --processes N`: N workers as children of one process that serves nothing itself.

Duties: start the children, replace one that dies (with a growing pause), pass signals on, show one
/metrics with the sum, end when they end. A child learns of its parent's death by a pipe and drains.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time

from taskrig.authoring.registry import load_handlers
from taskrig.config.sections import Config
from taskrig.process.family import Child, Family
from taskrig.process.signals import FORCE_S, LATE_S
from taskrig.runtime import early, forked
from taskrig.runtime.logs import stay_seen, without_waiting

log = logging.getLogger("taskrig")

LOOK_S = 0.25  # how late a deadline may be noticed
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LIVED_S = 10.0  # a child that lived this long was well: the next pause is short again
GIVE_UP_AFTER = 5  # children in a row that did not live, before the parent gives up
END_LATE_S = 8.0  # a child may take so much longer to end than it should; then it is killed
FOR_GOOD = (2,)  # exit codes that another try cannot mend: usage and configuration


class Supervisor:
    """The parent of N workers."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._family = Family(config)
        self._children = self._family.children
        self._due: dict[int, float] = {}  # slots without a child: when the next one starts
        self._shares = self._divide()
        self._events: queue.SimpleQueue[int | Child] = queue.SimpleQueue()
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._code = 0
        self._kill_at = float("inf")  # whoever has not ended by then

    def run(self) -> int:
        """Run until every child has ended; returns the exit code.

        Raises:
            UsageError: handlers or port cannot be.
        """
        load_handlers(
            self._config.handlers, self._config
        )  # what is wrong is said once, not N times
        stay_seen()
        forked.begin()
        early.take(lambda number, _: self._events.put(number), early.ENDING + early.TELL)
        self._family.start()
        log.info("supervising %d worker processes", len(self._shares))
        self._due = dict.fromkeys(self._shares, 0.0)
        while self._children or self._due:
            self._start_due()
            self._kill_late()
            try:
                event = self._events.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            if isinstance(event, Child):
                self._ended(event)
            elif event == signal.SIGUSR1:
                for child in self._children.values():
                    child.process.send_signal(event)  # each tells what it runs
            else:
                self._stop(signal.Signals(event))
        forked.end()
        self._family.close()
        log.info("all worker processes have ended, exit %d", self._code)
        return self._code

    def _divide(self) -> dict[int, int | None]:
        """What of max_tasks each slot does: together exactly as many."""
        n, tasks = self._config.worker.processes, self._config.worker.max_tasks
        if tasks is None:
            return dict.fromkeys(range(n))
        return {slot: tasks // n + (slot < tasks % n) for slot in range(min(n, tasks))}

    # -- children --------------------------------------------------------------------------------

    def _start_due(self) -> None:
        now = time.monotonic()
        for slot in [slot for slot, at in self._due.items() if at <= now]:
            del self._due[slot]
            child = self._children[slot] = Child(slot, self._shares[slot])
            threading.Thread(target=child.await_port, daemon=True).start()
            threading.Thread(target=self._watch, args=(child,), daemon=True).start()

    def _watch(self, child: Child) -> None:
        child.process.wait()
        self._events.put(child)

    def _ended(self, child: Child) -> None:
        code = child.process.returncode
        done = self._family.lose(child)
        if code == 0 or self._family.draining:
            unready = code in (-signal.SIGTERM, -signal.SIGINT)  # told before it could listen
            self._code = max(self._code, 0 if unready else 1 if code < 0 else code)
            return
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        lived = time.monotonic() - child.started >= LIVED_S
        self._failures = 0 if lived else self._failures + 1
        if code in FOR_GOOD or self._failures >= GIVE_UP_AFTER:
            log.error("worker process %d ended (%s); giving up", child.slot, how)
            self._code = code if code > 0 else 1
            self._stop(signal.SIGTERM)
            return
        share = self._shares[child.slot]
        if share is not None:
            self._shares[child.slot] = max(1, share - done)
        self._pause_s = FIRST_PAUSE_S if lived else min(self._pause_s * 2, LONGEST_PAUSE_S)
        self._due[child.slot] = time.monotonic() + self._pause_s
        log.error(
            "worker process %d ended (%s); another one in %g s", child.slot, how, self._pause_s
        )

    def _stop(self, number: signal.Signals) -> None:
        """Pass a signal on; no child is replaced after it.

        The first goes on as SIGTERM and later ones as SIGINT: two of a kind may arrive as one.
        """
        text = "%s: passed on to %d worker processes"
        without_waiting(log.info, text, number.name, len(self._children))
        first = not self._family.draining
        passed = signal.SIGTERM if first else signal.SIGINT
        should_s = self._config.worker.drain_timeout_s + LATE_S if first else 2 * FORCE_S
        self._kill_at = min(self._kill_at, time.monotonic() + should_s + END_LATE_S)
        self._family.drain()
        self._due.clear()
        for child in self._children.values():
            child.process.send_signal(passed)
            child.process.send_signal(signal.SIGCONT)  # a stopped one would not see the other

    def _kill_late(self) -> None:
        """Kill children that are frozen, or stuck in the kernel, once they are late."""
        if time.monotonic() < self._kill_at:
            return
        self._kill_at = float("inf")
        for child in self._children.values():
            text = "worker process %d does not end: killed; what it holds will be reclaimed"
            without_waiting(log.error, text, child.slot)
            child.process.kill()
