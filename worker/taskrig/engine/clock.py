"""The server's clock as this worker knows it: how far it is from ours, and when it was set."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

log = logging.getLogger("taskrig")

STEP_S = 1.0  # a smaller change of the server's clock is drift


@dataclass(frozen=True, slots=True)
class Step:
    """The server's clock was set: by how much, and how long ago at most, in seconds."""

    by_s: float
    within_s: float


class ServerClock:
    """Measured by the lease's thread with every renewal."""

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._round_trip_s = self._best_s = float("inf")
        self._measured_at = 0.0
        self._steady_since = float("inf")
        self._step: Step | None = None

    @property
    def known(self) -> bool:
        """Whether it was measured at all."""
        return self._offset_s is not None

    @property
    def steady_s(self) -> float:
        """For how long it has been watched without a step, in seconds."""
        return max(0.0, time.monotonic() - self._steady_since)

    @property
    def error_s(self) -> float:
        """How wrong it was at most when it was measured best: half that round trip."""
        return self._best_s / 2

    def at(self, monotonic: float) -> float:
        """A `time.monotonic()` value as Unix seconds by the server's clock (0: not known yet)."""
        return monotonic + self._offset_s if self._offset_s is not None else 0.0

    def take_step(self) -> Step | None:
        """The last step, once."""
        step, self._step = self._step, None
        return step

    def measure(self, offset_s: float, round_trip_s: float) -> bool:
        """Keep the best of many probes; an old one is worth less, since clocks drift.

        `offset_s`: the server's clock less `time.monotonic()`. Returns whether it was set.
        """
        now, stepped = time.monotonic(), False
        self._round_trip_s *= 1.5
        if self._offset_s is None:
            self._steady_since = now
        elif abs(offset_s - self._offset_s) > STEP_S + round_trip_s / 2:
            stepped = True
            self._stepped(offset_s - self._offset_s, now)
            self._round_trip_s = float("inf")
        if round_trip_s < self._round_trip_s:
            self._offset_s = offset_s
            self._round_trip_s = self._best_s = round_trip_s
        self._measured_at = now
        return stepped

    def _stepped(self, by_s: float, now: float) -> None:
        self._steady_since = now
        self._step = Step(by_s, now - self._measured_at)
        log.warning(
            "Redis's clock was set %s by %.1f s (or this machine stood still); leases, retries and "
            "schedules follow it",
            *("ahead" if by_s > 0 else "back", abs(by_s)),
        )
