"""Shows that the event loop turns, and how late it does."""

from __future__ import annotations

import asyncio
import time

from taskrig.metrics import Metrics

HEARTBEAT_S = 0.25


class Heartbeat:
    """Beats from its making until `stop`. `at`: the latest beat, `time.monotonic()` seconds."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self.at = time.monotonic()
        self._next = self._loop.call_later(HEARTBEAT_S, self._beat)

    def _beat(self) -> None:
        lag_s = max(0.0, self._loop.time() - self._next.when())
        self._metrics.loop_lag_s = max(lag_s, self._metrics.loop_lag_s * 0.9)
        self.at = time.monotonic()
        self._next = self._loop.call_later(HEARTBEAT_S, self._beat)

    def stop(self) -> None:
        """Beat no more."""
        self._next.cancel()
