"""This worker's lease, kept by a thread that no handler can stop; and when it may reclaim."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from taskrig.broker import LeaseConnection
from taskrig.engine.clock import ServerClock
from taskrig.errors import BrokerUnavailable

log = logging.getLogger("taskrig")

LOSSES_SAID = 3  # lost so often without one full lease in between: it is said
SAY_EVERY_S = 300.0
PROBES = 8  # of the server's clock, of which the one with the shortest round trip counts
FEW_PROBES, PROBES_S = 3, 0.2  # so few where they take longer than this


class Lease:
    """Renews every third of a lease, from a thread, until `stop`.

    A worker may reclaim only after it has held its own lease without a gap for one full lease:
    a start, a gap or a step of the server's clock restarts that time. Otherwise the first worker
    back after an outage would rob those that are about to renew. A renewal that failed and soon
    succeeded, such as on a new connection after an idle one was cut, is not a gap: what is left of
    the others' leases is longer.
    """

    def __init__(
        self, connection: LeaseConnection, lease_s: float, describe: Callable[[], str]
    ) -> None:
        """`describe` gives, in the thread, the JSON that others see of this worker."""
        self._connection = connection
        self._lease_s = lease_s
        self._describe = describe
        self.clock = ServerClock()
        self.gap_at = 0.0  # monotonic: a lease held before had lapsed when it was renewed here
        self.renewed_at = float("-inf")  # monotonic, by the thread or by an exchange
        self._held_since = float("inf")
        self._losses = _Losses(lease_s)
        self._stop = threading.Event()
        self._now = threading.Event()
        self._failures = 0  # renewals by the thread, in a row
        self._thread: threading.Thread | None = None

    def start(self, died: Callable[[BaseException], object]) -> None:
        """Start renewing; `died` is called in the thread if an error ends it."""
        self._thread = threading.Thread(target=self._run, args=(died,), daemon=True, name="lease")
        self._thread.start()

    def observe(self, gap: bool) -> None:
        """The lease was renewed, by an exchange or by the thread; `gap`: it had lapsed."""
        now = time.monotonic()
        silent_s, self.renewed_at = now - self.renewed_at, now
        if gap and self.clock.known:  # joining is not a gap: there was nothing to lose
            self.gap_at = now
        # All renew every third of a lease, so the others' last for another sixth at least.
        if gap or silent_s > self._lease_s / 2:
            held_s, self._held_since = now - self._held_since, now
            self._losses.count(held_s, now)

    @property
    def may_reclaim(self) -> bool:
        """Whether the lease was held without a gap for one full lease, and still is."""
        now = time.monotonic()
        held = now - self._held_since >= self._lease_s
        return held and now - self.renewed_at <= self._lease_s / 2

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
        return self._thread is not None and self._thread.is_alive()

    def _run(self, died: Callable[[BaseException], object]) -> None:
        try:
            while not self._stop.is_set():
                pause_s = self._renew()
                self._now.wait(pause_s)
                self._now.clear()
        except BaseException as fault:
            died(fault)
        finally:
            self._connection.close()

    def _renew(self) -> float:
        """Renew once; returns the seconds until the next time."""
        try:
            gap, offset_s, round_trip_s = self._connection.renew(self._describe())
        except BrokerUnavailable:
            self._failures += 1
            # To renew twice does no harm: at once on a new connection, since this one may have
            # been cut while it was idle.
            return 0.0 if self._failures == 1 else min(1.0, self._lease_s / 10)
        self._failures = 0
        self.observe(gap)
        if not self.clock.known:
            offset_s, round_trip_s = self._best_probe((offset_s, round_trip_s))
        if self.clock.measure(offset_s, round_trip_s):
            self._held_since = time.monotonic()
            self.clock.measure(*self._best_probe((offset_s, round_trip_s)))
        return self._lease_s / 3

    def _best_probe(self, first: tuple[float, float]) -> tuple[float, float]:
        """Offset and round trip, better than a single renewal tells them: that one may have had to
        connect first, or to wait."""
        probes, until = [first], time.monotonic() + PROBES_S
        while len(probes) <= PROBES and (len(probes) <= FEW_PROBES or time.monotonic() < until):
            try:
                probes.append(self._connection.probe())
            except BrokerUnavailable:
                break
        return min(probes, key=lambda one: one[1])


class _Losses:
    """Says that the lease is lost again and again."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._count = 0  # since the lease was last held in full
        self._say_at = float("-inf")

    def count(self, held_s: float, now: float) -> None:
        """The time for which it was held begins again, after `held_s` (-inf: the first time)."""
        joined = held_s != float("-inf")
        self._count = self._count + 1 if joined and held_s < self._lease_s else int(joined)
        if self._count >= LOSSES_SAID and now >= self._say_at:
            self._say_at = now + SAY_EVERY_S
            log.warning(
                "the lease was lost %d times in a row and never held for %g s (worker.lease): this "
                "worker does not take over tasks of workers that died; look for what delays or "
                "cuts its connections to Redis",
                *(self._count, self._lease_s),
            )
