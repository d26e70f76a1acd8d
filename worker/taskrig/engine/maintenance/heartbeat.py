"""Shows that the event loop turns, and how late it does."""

from __future__ import annotations

import asyncio
import time

from taskrig.engine.maintenance.loop_watch import LoopWatch
from taskrig.metrics import Metrics

HEARTBEAT_S = 0.05
FADES = 0.98  # what is left of the worst lag at the next beat: a third after three seconds


class Heartbeat:
    """Beats from its making until `stop`. `at`: the latest beat, `time.monotonic()` seconds."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self.at = time.monotonic()
        self._next = self._loop.call_later(HEARTBEAT_S, self._beat)
        self._watch = LoopWatch(lambda: self.at, HEARTBEAT_S)

    def _beat(self) -> None:
        lag_s = max(0.0, self._loop.time() - self._next.when())
        self._metrics.loop_lag_s = max(lag_s, self._metrics.loop_lag_s * FADES)
        self.at = time.monotonic()
        self._next = self._loop.call_later(HEARTBEAT_S, self._beat)

    def stop(self) -> None:
        """Beat no more."""
        self._next.cancel()
        self._watch.stop()
