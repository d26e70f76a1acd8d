"""The run loop: claim, run, settle, drain.

It owns the parts and is called by none of them: what happens elsewhere (a task ended, a blocking
move ended, an order came) reaches it through its inbox. Its states:

    starting -> serving -> draining -> releasing -> ended

and, beside each of them, *away* while Redis does not answer (see outage.py). Two rules. Whatever
talks to Redis is asked to end by a flag, never cancelled. No error of an exchange ends a running
handler.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import StrEnum

from taskrig.broker import Broker, Exchanged
from taskrig.engine.aftermath import adopt, begun, light, settlement
from taskrig.engine.blocking_pop import BlockingPop
from taskrig.engine.capacity import Outlook
from taskrig.engine.dispositions import SUCCEEDED
from taskrig.engine.execution import Execution, newest_first
from taskrig.engine.inbox import Drain, Fail, Inbox, Look, Popped, Release
from taskrig.engine.lease import Lease
from taskrig.engine.limiter import Limiter
from taskrig.engine.outage import Outage
from taskrig.engine.runner import STUBBORN_S, Runner
from taskrig.errors import BrokerUnavailable, ended_with
from taskrig.task import Begun, Settlement

SETTLE_MAX = 1000  # outcomes per exchange
RENEWAL_NOTED_S = 0.1  # each exchange renews the lease; it is enough to note some of them


class State(StrEnum):
    """What the consumer is about."""

    STARTING = "starting"  # nothing was claimed yet
    SERVING = "serving"  # claims
    AWAY = "away"  # would claim, but Redis does not answer
    DRAINING = "draining"  # claims nothing more; what runs may end
    RELEASING = "releasing"  # what runs is stopped and given back
    ENDED = "ended"


class Consumer:
    """Consumes one queue with one worker's slots."""

    def __init__(
        self,
        broker: Broker,
        runner: Runner,
        limiter: Limiter | None,
        lease: Lease,
        outage: Outage,
        outlook: Outlook,
        inbox: Inbox,
        on_drain: Callable[[str], None],
    ) -> None:
        """`limiter` is None where no type has limits. `on_drain` is called with the reason when
        Redis says, or `max_tasks` demands, that the worker is to drain; it puts the order."""
        self._broker = broker
        self._runner = runner
        self._limiter = limiter
        self._lease = lease
        self.outage = outage
        self._outlook = outlook
        self.inbox = inbox
        self._on_drain = on_drain
        self.capacity = runner.capacity
        self._pops = [
            BlockingPop(i, move, inbox, outlook.interval_s) for i, move in enumerate(broker.moves)
        ]
        self._phase = State.STARTING
        self._failure: BaseException | None = None

    @property
    def state(self) -> State:
        """What it is about now."""
        away = self.outage.since is not None
        return State.AWAY if away and self._phase is State.SERVING else self._phase

    # -- the loop --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Claim, run and settle until drained. A drain is the same loop, wanting nothing.

        Raises:
            BrokerUnavailable: Redis was away for longer than allowed.
            UsageError: a key of ours was replaced by one of another type.
        """
        inbox = self.inbox
        obeying = asyncio.get_running_loop().create_task(self._obey())
        obeying.add_done_callback(self._obeyed)
        for pop in self._pops:
            pop.start()
        self._phase = State.SERVING
        self._carry_out_orders()
        try:
            while self._has_business():
                await inbox.woken.wait()
                inbox.woken.clear()
                if self.outage.since is not None:
                    await self.outage.pause()
                if self._failure is not None:
                    raise self._failure
                await self._turn()
                self._place_pops()
        finally:
            self.capacity.claiming = False
            self._phase = State.ENDED
            inbox.ordered.set()
            ends = (pop.end(within_s=2) for pop in self._pops)
            await asyncio.gather(obeying, *ends, return_exceptions=True)

    def _obeyed(self, obeying: asyncio.Task[None]) -> None:
        self._failure = self._failure or ended_with(obeying)  # nobody would hear orders any more
        self.inbox.wake()

    def _has_business(self) -> bool:
        capacity, inbox = self.capacity, self.inbox
        in_hand = capacity.running or capacity.batched or inbox.ended
        if capacity.claiming or in_hand or inbox.popped:
            return True
        # A claim whose reply is still to come, or was lost: what it brought is given back.
        claims = capacity.claims
        return self.outage.since is None and bool(claims.reserved is not None or claims.lost)

    async def _turn(self) -> None:
        """One exchange, if there is anything to exchange."""
        capacity, ended = self.capacity, self.inbox.ended
        while self.inbox.popped:
            self._take_popped(self.inbox.popped.pop(0))
        batches = self._runner.elsewhere.batches
        if batches is not None:
            for first in batches.due():
                self._runner.begin(first)
            batches.look_ahead()
        if not capacity.claiming:
            ended.sort(key=newest_first)  # each goes to the front: the oldest is last
        policies = self._runner.pipeline.policies
        batch = light(ended, SETTLE_MAX) if policies.kept_any else ended[:SETTLE_MAX]
        outlook = self._outlook
        want = capacity.free(looking=outlook.look_due)
        try:
            if batch or outlook.look_due or self.inbox.begun or (want and not outlook.idle):
                lost = capacity.claims.lost
                while lost:  # take what a claim whose reply was lost had put in flight
                    found = await self._broker.find(*lost[0])
                    del lost[0]
                    for delivery in found:
                        self._runner.take(delivery)
                    want = capacity.free(looking=outlook.look_due)
                if policies.kept_any:
                    await adopt(batch, policies, self._broker)
                await self._exchange(batch, want, capacity.claims.begin(want))
            if self._limiter is not None and self._limiter.due:
                # Claimed tasks of limited types start, and held ones come back where there is room.
                room = 0
                if capacity.claiming and not outlook.paused:
                    room = capacity.free(looking=outlook.look_due) or -1
                if await self._limiter.turn(room):
                    outlook.look_again()
        except BrokerUnavailable as error:
            await self._went_away(error)

    async def _exchange(self, batch: list[Execution], want: int, first: int) -> None:
        """Hand in what ended, claim up to `want`, numbered from `first`, and start those."""
        capacity, claims, outlook = self.capacity, self.capacity.claims, self._outlook
        outlook.look_due = False
        # After a gap another worker may have taken what we hold: then each tag is looked at.
        gap_at, resend = self._lease.gap_at, self.outage.resend
        one_by_one = resend or (gap_at > 0 and any(e.taken <= gap_at for e in batch))
        policies, running = self._runner.pipeline.policies, list(self.inbox.begun)
        settled: list[Settlement | Begun | str] = [
            e.delivery.tag
            if e.disposition is SUCCEEDED and (e.task is None or e.task.run is None)
            else settlement(e, policies, self._lease.clock.at)
            for e in batch
        ]
        if running:
            settled[:0] = [begun(e, policies) for e in running]
        # With one that a blocking pop may bring.
        in_hand = len(capacity.running) + len(capacity.batched) + (claims.reserved is not None)
        before = time.monotonic()
        try:
            reply = await self._broker.exchange(settled, want, first, in_hand, one_by_one)
        except BrokerUnavailable:
            if self._broker.exchange.sent and want:
                claims.lost.append((first, want))
            raise
        finally:
            claims.open_want = 0
        outage = self.outage
        outage.answered_at, outage.resend = time.monotonic(), False
        self._runner.events.metrics.roundtrip.observe(outage.answered_at - before)
        if outage.since is not None:
            outage.over()
        del self.inbox.ended[: len(batch)], self.inbox.begun[: len(running)]
        if batch:
            self._settled(batch, reply, resend)
        if reply.groups_missing:
            policies.groups.missing(reply.groups_missing, self._runner.events.metrics)
        self._take(reply, want, first)

    def _settled(self, batch: list[Execution], reply: Exchanged, resent: bool) -> None:
        """The batch reached Redis: count it, and see which claims had been lost."""
        capacity, events = self.capacity, self._runner.events
        missing = set(reply.missing)
        unnamed = reply.missing.count(b"") if missing else 0  # successes: only their number
        for execution in batch:
            lost = False
            if missing:
                lost = execution.delivery.tag.encode() in missing
                if unnamed and execution.disposition is SUCCEEDED:
                    unnamed, lost = unnamed - 1, True
            if lost and not resent:
                events.claim_lost(execution)
                if execution.disposition is not None and execution.disposition.counted:
                    capacity.counted -= 1
                continue
            events.metrics.settles_unconfirmed += lost
            events.settled(execution)
        if self._limiter is not None:
            self._limiter.settled(batch)
        if capacity.used_up and not self.inbox.ended:
            self._on_drain(f"max_tasks ({capacity.counted}) is reached")

    def _take(self, reply: Exchanged, want: int, first: int | None = None) -> None:
        """Start what was claimed, and remember what the reply says of the queue.

        `first`: the number from which on tags were free for it; None where one was set aside.
        """
        capacity, outlook, runner = self.capacity, self._outlook, self._runner
        if first is not None:
            capacity.claims.brought(first, want, len(reply.deliveries))
        if reply.gap or time.monotonic() - self._lease.renewed_at > RENEWAL_NOTED_S:
            self._lease.observe(reply.gap)
        for size, start in capacity.claims.skipped(reply.too_large):
            runner.events.invalid("too_large", size, start)
        capacity.making_room = reply.why == "alone"
        if capacity.making_room and capacity.claims.reserved is not None:
            self._pops[0].interrupt()
        if capacity.making_room and runner.elsewhere.batches is not None:
            runner.elsewhere.batches.hurry()
        if reply.why == "drain" and capacity.claiming:
            self._on_drain("an operator asked for it")
        if want:
            outlook.seen(reply, want)
            self.inbox.wake()  # a turn more: there is more to claim, or it is time to wait
        outlook.paused = reply.why == "paused"
        for tag in reply.cancel:
            runner.cancel(tag)
        runner.pipeline.clock_ms = reply.now_ms
        if reply.deliveries:
            runner.events.metrics.last_claim_at = time.time()
        for delivery in reply.deliveries:
            runner.take(delivery)

    # -- waiting for work ------------------------------------------------------------------------

    def _place_pops(self) -> None:
        """A blocking move is pending while a slot is free and the queue is empty."""
        outlook, capacity = self._outlook, self.capacity
        for pop in self._pops:
            if pop.pending:
                continue
            room = capacity.free() > 0 if outlook.idle or pop.moved else False
            if pop.moved and not room:
                pop.pass_on()  # every slot is filled: let it wake another worker
            elif (
                room
                and outlook.may_wait(pop.not_before)
                and not capacity.making_room
                and not capacity.claims.lost
                and self.outage.since is None
            ):
                # Held tasks and batches want every free slot at once, and several lists as many
                # claims: then none is set aside for an arrival.
                batches = self._runner.elsewhere.batches
                rides = self._limiter is None and batches is None and len(self._pops) == 1
                pop.ask(capacity.claims.reserve() if rides else None, outlook.due_in_s())

    def _take_popped(self, popped: Popped) -> None:
        """A blocking move ended: take the claim that rode on it, and see what it moved."""
        pop, capacity, outlook = self._pops[popped.index], self.capacity, self._outlook
        arrival, claims = popped.arrival, capacity.claims
        pop.pending = False
        if popped.number is not None:
            claims.reserved = None
        if arrival is not None:
            reply = arrival.exchanged
            if reply is not None:
                self.outage.answered_at = time.monotonic()
                self._take(reply, 1)
            if arrival.unread is not None:
                # The claim that rode on it has dead-lettered it, unless the next exchange does;
                # its answer is lost.
                outlook.look_again()
                if popped.number is not None:
                    claims.lost.append((popped.number, 1))
                    claims.unread.append(arrival.unread)
                    self.outage.suspect()
            if popped.error is None:
                pop.trouble.failures = 0
            if arrival.moved and (reply is None or not reply.deliveries):
                outlook.idle = False
            pop.moved = arrival.moved and (reply is None or capacity.free() == 0)
        if popped.error is not None:
            if popped.number is not None and popped.sent:
                claims.lost.append((popped.number, 1))
                self.outage.suspect()
            pop.not_before = outlook.rest(pop.trouble.pause_s(popped.error))
            if capacity.claiming:
                self._runner.events.metrics.count_error(popped.error.kind)

    # -- outage, orders --------------------------------------------------------------------------

    async def _went_away(self, error: BrokerUnavailable) -> None:
        self._outlook.look_again()
        if error.kind == "wrong_type":
            error = await self._broker.with_wrong_key(error)
        capacity = self.capacity
        held = len(capacity.running) + len(capacity.batched) + len(self.inbox.ended)
        self.outage.began(error, held)

    async def _obey(self) -> None:
        """Obey orders as they come, also while an exchange is under way."""
        while self._phase is not State.ENDED:
            await self.inbox.ordered.wait()
            self._carry_out_orders()

    def _carry_out_orders(self) -> None:
        inbox, orders = self.inbox, self.inbox.orders
        inbox.orders = []
        inbox.ordered.clear()
        for order in orders:
            match order:
                case Drain(timeout_s=timeout_s):
                    if self._stop_claiming(State.DRAINING):
                        loop = asyncio.get_running_loop()
                        loop.call_later(timeout_s, inbox.order, Release())
                case Release():
                    self._stop_claiming(State.RELEASING)
                    self._runner.release()
                    self.outage.give_up_in(2 * STUBBORN_S)
                case Look():
                    if self._limiter is not None:
                        self._limiter.look()
                    self._outlook.look_again()
                case Fail(fault=fault):
                    self._failure = self._failure or fault
                    self.outage.hurry()
        inbox.wake()

    def _stop_claiming(self, phase: State) -> bool:
        """Enter a phase that claims nothing; False when nothing was claimed before."""
        if phase is State.RELEASING or self.capacity.claiming:
            self._phase = phase
        if not self.capacity.claiming:
            return False
        self.capacity.claiming = False
        if self._runner.elsewhere.batches is not None:
            self._runner.elsewhere.batches.release()
        for pop in self._pops:
            pop.interrupt()
        return True
