"""Signals, and the thread that sees to it that the process ends when it was told to."""

from __future__ import annotations

import logging
import os
import signal
import threading

from taskrig.errors import describe
from taskrig.process.controls import Controls
from taskrig.runtime import early, forked
from taskrig.runtime.logs import for_debug, without_waiting

log = logging.getLogger("taskrig")

FORCE_S = 1.5  # a second signal is obeyed within this, or twice this where the event loop turns
LATE_S = 3.0  # how much later than its drain timeout a worker may end


class Signals:
    """First SIGINT, SIGTERM or SIGHUP: drain. Second: give back at once. SIGUSR1: tell what runs.

    The signal handler only writes to a pipe; a thread reads it, so that a handler that blocks
    the event loop cannot keep the process from ending.
    """

    def __init__(self, controls: Controls, drain_timeout_s: float) -> None:
        self._controls = controls
        self._timeout_s = drain_timeout_s
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._ended = threading.Event()
        self.received = 0

    def install(self) -> None:
        """Take the signals that end, and SIGUSR1; the main thread only."""
        forked.own(self)
        early.take(self._received, early.ENDING + early.TELL)
        threading.Thread(target=self._watch, daemon=True, name="signals").start()

    def descriptors(self) -> tuple[int, int]:
        """What is kept from children."""
        return self._read, self._write

    def close(self) -> None:
        """The worker has ended by itself."""
        self._ended.set()

    def _received(self, number: int, _frame: object) -> None:
        self.received += number != signal.SIGUSR1
        try:
            os.write(self._write, bytes([number]))
        except OSError:
            pass  # the pipe is full of signals: enough were said

    def _next_stop(self) -> str:
        """The name of the next signal that is to end the process."""
        while (number := os.read(self._read, 1)[0]) == signal.SIGUSR1:
            without_waiting(self._try_to_tell)
        return signal.Signals(number).name

    def _try_to_tell(self) -> None:
        try:
            self._controls.tell_what_runs()
        except Exception as fault:  # a glance at what changes meanwhile
            log.error("could not tell what runs: %s", describe(fault), exc_info=for_debug(fault))

    def _watch(self) -> None:
        name = self._next_stop()
        text = "%s: draining, up to %g s; signal again to give running tasks back at once"
        without_waiting(log.info, text, name, self._timeout_s)
        self._controls.drain(name)
        threading.Thread(target=self._await_end, daemon=True, name="deadline").start()
        name = self._next_stop()
        without_waiting(log.warning, "%s again: giving back what runs", name)
        self._controls.release()
        if self._ended.wait(FORCE_S) or (
            not self._controls.is_stuck() and self._ended.wait(FORCE_S)
        ):
            return
        self._controls.give_up()

    def _await_end(self) -> None:
        if not self._ended.wait(self._timeout_s + LATE_S):
            self._controls.give_up()
