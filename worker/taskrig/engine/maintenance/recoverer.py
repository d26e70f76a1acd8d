"""Brings back what no live worker holds, and lets nothing be misled when the server's clock is set.

Leases end by the server's clock. When that is set, they say nothing until every live worker has
renewed: the lease (see lease.py) then makes this worker wait for one full lease.
"""

from __future__ import annotations

import time

from taskrig.broker import Broker, Depths, Stride
from taskrig.engine.capacity import Capacity
from taskrig.engine.clock import Step
from taskrig.engine.events import log
from taskrig.engine.inbox import Inbox, Look
from taskrig.engine.lease import Lease
from taskrig.engine.outage import Outage
from taskrig.metrics import Metrics

SLICE_ITEMS = 250  # an orphan costs four commands: this many hold Redis for about 2 ms


class Recoverer:
    """One worker's part in recovery; one scanner at a time, over all workers."""

    def __init__(
        self,
        broker: Broker,
        capacity: Capacity,
        inbox: Inbox,
        lease: Lease,
        outage: Outage,
        metrics: Metrics,
        lease_s: float,
    ) -> None:
        self._broker = broker
        self._capacity = capacity
        self._inbox = inbox
        self._lease = lease
        self._outage = outage
        self._metrics = metrics
        self._lease_s = lease_s
        self._full_scan_at = time.monotonic() + lease_s
        self._own_scan_at = 0.0
        self._back: Step | None = None  # the clock was set back, and retries do not follow it yet
        self._back_at = ""  # how far they do
        self._too_long = False  # there may be leases that the clock set back has made too long

    async def recover(self, seen: Depths) -> None:
        """Bring back what no live worker holds; raises BrokerUnavailable.

        A full scan runs when a lease has run out, and once a lease length in any case (by one
        worker); a scan of this worker's own tags after replies were lost, since a command sent
        then may land late.
        """
        await self._follow_clock()
        now = time.monotonic()
        if not self._lease.may_reclaim:
            return
        if seen.expired or now >= self._full_scan_at:
            self._full_scan_at = now + self._lease_s
            if seen.in_flight or seen.expired or self._too_long:
                hold_ms = round(min(5.0, self._lease_s / 2) * 1000)
                self._too_long = not await self._scan(hold_ms) and self._too_long
        elif now < self._outage.suspicious_until and now >= self._own_scan_at:
            self._own_scan_at = now + self._lease_s / 2
            if seen.in_flight:
                await self._scan(0)

    async def _follow_clock(self) -> None:
        """Once the clock was set back: retries wait no longer than they were to."""
        step = self._lease.clock.take_step()
        if step is not None and step.by_s < 0:
            self._back, self._back_at = step, ""
            self._too_long, self._full_scan_at = True, time.monotonic() + self._lease_s
        if self._back is None:
            return
        by_s, within_s, moved = -self._back.by_s, self._back.within_s, 0
        stride = Stride(SLICE_ITEMS)
        while self._back is not None:
            commands = self._broker.commands
            part = await self._broker.run(
                commands.set_back(by_s, within_s, self._back_at, stride.count)
            )
            self._back_at = part.following
            moved += part.moved
            stride.saw(part.seen, part.bytes)
            if not self._back_at:
                self._back = None
        if moved:
            log.info("%d retries follow the clock that was set back", moved)
            self._inbox.order(Look())

    def _known_tags(self) -> tuple[int, list[str]]:
        """(n, tags): below number n, these are all the tags that this worker has."""
        capacity = self._capacity
        ended = [execution.delivery.tag for execution in self._inbox.ended]
        return capacity.claims.below, [*capacity.running, *capacity.batched, *ended]

    async def _scan(self, hold_ms: int) -> bool:
        """Scan all in flight, or with 0 this worker's own; False when it may not be done now."""
        clock, commands = self._lease.clock, self._broker.commands
        cursor, stride, began = 0, Stride(SLICE_ITEMS), ""
        moved = 0
        while True:
            below, known = self._known_tags()
            expected_s = clock.at(time.monotonic())
            part = await self._broker.run(
                commands.reclaim(
                    *(self._broker.worker_id, cursor, stride.count, hold_ms, below, known),
                    expected_s=expected_s,
                    steady_s=clock.steady_s,
                )
            )
            if part.state:
                if part.state == "stepped":
                    self._lease.renew_now()
                return False
            began = began or part.now_ms
            moved += part.moved
            self._metrics.reclaimed += part.moved
            stride.saw(part.seen, part.bytes)
            cursor = part.cursor
            if cursor == 0:
                break
        if moved:
            log.warning("reclaimed %d tasks that no live worker held", moved)
            self._inbox.order(Look())
        if hold_ms:
            gone = await self._broker.run(commands.forget(began))
            if gone:
                log.info("forgot %d dead workers: %s", len(gone), ", ".join(gone[:5]))
        return True
