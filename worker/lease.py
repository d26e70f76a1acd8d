"""This worker's lease, kept by a thread that no handler can stop; and when it may reclaim."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from worker.broker import LeaseWire
from worker.errors import BrokerUnavailable

log = logging.getLogger("worker")


class Lease:
    """Renews every third of a lease, from a thread, until `stop`.

    A worker may reclaim only after it has held its own lease without a gap for one full lease:
    a start, a gap or a failed renewal restarts that clock. Otherwise the first worker back after
    an outage would rob those that are about to renew.
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
        self._held_since = float("inf")
        self._offset_s: float | None = None
        self._round_trip_s = float("inf")
        self._thread = threading.Thread(target=self._run, daemon=True, name="lease")
        self.failed: BaseException | None = None  # the thread died of this: the worker must end

    def start(self) -> None:
        """Start renewing."""
        self._thread.start()

    def observe(self, gap: bool) -> None:
        """An exchange renewed the lease; `gap`: it had lapsed."""
        if gap:
            self._lapsed()

    def _lapsed(self) -> None:
        now = time.monotonic()
        if self._offset_s is not None:  # joining is no gap: there was nothing to lose
            self.gap_at = now
        self._held_since = now

    def lost(self) -> None:
        """A call failed: the clock starts again at the next renewal."""
        self._held_since = float("inf")

    @property
    def may_reclaim(self) -> bool:
        """Whether the lease was held without a gap for one full lease."""
        return time.monotonic() - self._held_since >= self._lease_s

    def redis_time(self, monotonic: float) -> float:
        """A `time.monotonic()` value as Unix seconds by the server's clock (0: not known yet)."""
        return monotonic + self._offset_s if self._offset_s is not None else 0.0

    def renew_now(self) -> None:
        """Renew soon, so that others see the new description."""
        self._now.set()

    def stop(self) -> None:
        """Stop renewing; returns at once."""
        self._stop.set()
        self._now.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end, so that no renewal comes after the worker has left."""
        self._thread.join(timeout_s)

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
            self.lost()
            return min(1.0, self._lease_s / 10)
        if gap:
            self._lapsed()
        elif self._held_since == float("inf"):
            self._held_since = time.monotonic()
        # The best of many probes; an old one is worth less, since clocks drift.
        self._round_trip_s *= 1.5
        if self._offset_s is None or round_trip_s < self._round_trip_s:
            self._offset_s, self._round_trip_s = offset_s, round_trip_s
        return self._lease_s / 3
