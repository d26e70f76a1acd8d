"""This worker's lease, kept by a thread that no handler can stop; and when it may reclaim."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.broker import LeaseWire
from worker.errors import BrokerUnavailable

log = logging.getLogger("worker")

STEP_S = 1.0  # a smaller change of the server's clock is drift
LOSSES_SAID = 3  # lost so often without one full lease in between: it is said
SAY_EVERY_S = 300.0


@dataclass(frozen=True, slots=True)
class Step:
    """The server's clock was set: by how much, and how long ago at most, in seconds."""

    by_s: float
    within_s: float


class Lease:
    """Renews every third of a lease, from a thread, until `stop`.

    A worker may reclaim only after it has held its own lease without a gap for one full lease:
    a start, a gap or a step of the server's clock restarts that time. Otherwise the first worker
    back after an outage would rob those that are about to renew. A renewal that failed and soon
    succeeded, such as on a new connection after an idle one was cut, is not a gap: what is left of
    the others' leases is longer.
    """

    def __init__(
        self,
        wire: LeaseWire,
        lease_s: float,
        describe: Callable[[], str],
        died: Callable[[BaseException], None],
    ) -> None:
        """`describe` gives the JSON that others see of this worker; `died` is told if the thread
        ends by an error. Both are called in the thread."""
        self._wire = wire
        self._lease_s = lease_s
        self._describe = describe
        self._died = died
        self.gap_at = 0.0  # monotonic: a lease held before had lapsed when it was renewed here
        self._stop = threading.Event()
        self._now = threading.Event()
        self._renewed_at = float("-inf")
        self._held_since = float("inf")
        self._losses = 0  # since the lease was last held in full
        self._say_losses_at = float("-inf")
        self._failures = 0  # renewals by the thread, in a row
        self._offset_s: float | None = None
        self._round_trip_s = float("inf")
        self._measured_at = 0.0
        self._steady_since = float("inf")
        self._step: Step | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="lease")
        self.failed: BaseException | None = None  # the thread died of this: the worker must end

    def start(self) -> None:
        """Start renewing."""
        self._thread.start()

    def observe(self, gap: bool) -> None:
        """The lease was renewed, by an exchange or by the thread; `gap`: it had lapsed."""
        now = time.monotonic()
        silent_s, self._renewed_at = now - self._renewed_at, now
        if gap and self._offset_s is not None:  # joining is not a gap: there was nothing to lose
            self.gap_at = now
        # All renew every third of a lease, so the others' last for another sixth at least.
        if gap or silent_s > self._lease_s / 2:
            self._restart(now)

    def _restart(self, now: float) -> None:
        """The time for which the lease was held begins again."""
        held_s, self._held_since = now - self._held_since, now
        joined = held_s != float("-inf")
        self._losses = self._losses + 1 if joined and held_s < self._lease_s else int(joined)
        if self._losses >= LOSSES_SAID and now >= self._say_losses_at:
            self._say_losses_at = now + SAY_EVERY_S
            log.warning(
                "the lease was lost %d times in a row and never held for %g s (worker.lease): this "
                "worker does not take over tasks of workers that died; look for what delays or "
                "cuts its connections to Redis", self._losses, self._lease_s,
            )  # fmt: skip

    @property
    def may_reclaim(self) -> bool:
        """Whether the lease was held without a gap for one full lease, and still is."""
        now = time.monotonic()
        held = now - self._held_since >= self._lease_s
        return held and now - self._renewed_at <= self._lease_s / 2

    @property
    def steady_s(self) -> float:
        """For how long the server's clock has been watched without a step, in seconds."""
        return max(0.0, time.monotonic() - self._steady_since)

    def redis_time(self, monotonic: float) -> float:
        """A `time.monotonic()` value as Unix seconds by the server's clock (0: not known yet)."""
        return monotonic + self._offset_s if self._offset_s is not None else 0.0

    def take_step(self) -> Step | None:
        """The last step of the server's clock, once."""
        step, self._step = self._step, None
        return step

    def renew_now(self) -> None:
        """Renew soon, so that the server's clock is measured and others see the description."""
        self._now.set()

    def stop(self) -> None:
        """Stop renewing; returns at once."""
        self._stop.set()
        self._now.set()

    @property
    def renewing(self) -> bool:
        """Whether the thread goes on: a renewal may still come."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                pause_s = self._renew()
                self._now.wait(pause_s)
                self._now.clear()
        except BaseException as fault:
            self.failed = fault
            self._died(fault)
        finally:
            self._wire.close()

    def _renew(self) -> float:
        """Renew once; returns the seconds until the next time."""
        try:
            gap, offset_s, round_trip_s = self._wire.renew(self._describe())
        except BrokerUnavailable:
            self._failures += 1
            # To renew twice does no harm: at once on a new connection, since this one may have
            # been cut while it was idle.
            return 0.0 if self._failures == 1 else min(1.0, self._lease_s / 10)
        self._failures = 0
        self.observe(gap)
        self._measure(offset_s, round_trip_s)
        return self._lease_s / 3

    def _measure(self, offset_s: float, round_trip_s: float) -> None:
        """Keep the best of many probes; an old one is worth less, since clocks drift."""
        now = time.monotonic()
        self._round_trip_s *= 1.5
        if self._offset_s is None:
            self._steady_since = now
        elif abs(offset_s - self._offset_s) > STEP_S + round_trip_s / 2:
            self._stepped(offset_s - self._offset_s, now)
            self._round_trip_s = float("inf")
        if round_trip_s < self._round_trip_s:
            self._offset_s, self._round_trip_s = offset_s, round_trip_s
        self._measured_at = now

    def _stepped(self, by_s: float, now: float) -> None:
        self._steady_since = self._held_since = now
        self._step = Step(by_s, now - self._measured_at)
        log.warning(
            "Redis's clock was set %s by %.1f s (or this machine stood still); leases, retries and "
            "schedules follow it", "ahead" if by_s > 0 else "back", abs(by_s),
        )  # fmt: skip
