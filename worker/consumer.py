"""The loop: claim, run, settle, drain.

Duties: keep every slot busy while there is work, never more; hand in every outcome, again after
a lost reply; survive Redis going away; stop claiming when asked and give back what cannot end.

Two rules. Whatever talks to Redis is asked to end by a flag, never cancelled. No error of an
exchange ends a running handler.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

from worker.broker import CLAIM_ITEMS, Arrival, Broker, Exchanged
from worker.claims import Claims
from worker.config import Config
from worker.errors import BrokerBroken, BrokerUnavailable
from worker.executor import Execution, Executor
from worker.gate import Gate
from worker.journal import Journal
from worker.outage import Outage
from worker.settling import newest_first, settlement_of
from worker.slots import STUBBORN_S, Slots
from worker.task import Delivery, Outcome, Settlement
from worker.waiter import Waiter

SETTLE_MAX = 1000  # outcomes per exchange
WORTH_AN_EXCHANGE = 50  # with this many tasks its fixed cost is a tenth of theirs (measured)
COUNTED = (
    Outcome.SUCCEEDED,
    Outcome.FAILED,
    Outcome.RETRIED,
    Outcome.DEAD,
)  # what max_tasks counts


class LeaseView(Protocol):
    """What the consumer needs of the lease."""

    gap_at: float

    def observe(self, gap: bool) -> None: ...
    def redis_time(self, monotonic: float) -> float: ...


class Consumer:
    """Consumes one queue with one worker's slots."""

    def __init__(
        self, config: Config, broker: Broker, executor: Executor, lease: LeaseView, journal: Journal
    ) -> None:
        self._config = config.worker
        self._broker = broker
        self._executor = executor
        self._lease = lease
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self.slots = Slots(
            config.worker.max_concurrent, executor, journal, gated=self._gated,
            ended=self._ended, freed=self._woken.set, broke=self.fail,
        )  # fmt: skip
        self.running = self.slots.running
        limited = executor.plans.limited()
        # None where no type has limits: the gate then costs nothing.
        self._gate = Gate(limited, broker, self.slots, self._woken.set) if limited else None
        # Held tasks want every free slot, at once: none may be set aside for an arrival then.
        moves = broker.moves
        claims = self._gate is None and len(moves) == 1
        self._waiters = [Waiter(self, move, claims=claims) for move in moves]
        self.outage = Outage(config.redis.max_outage_s, journal)
        self.claiming = True
        self._finished: list[Execution] = []
        self._share = _share(config.worker.max_concurrent)
        self._claims = Claims()
        self._unread: list[tuple[int, bytes]] = []  # (size, start), not yet told of
        self._resend = False
        self._counted = 0
        self._idle = False  # the last exchange got less than it asked for
        self._paused = False
        self._look_due = True
        self._make_room = False  # an entry on its last delivery waits for this worker to be idle
        self._look_at: asyncio.TimerHandle | None = None  # the next due task
        self._due_at = 0.0
        self._failure: BaseException | None = None
        # For those who watch
        self.exchanged_at = time.monotonic()
        self.suspicious_until = 0.0  # a lost command may still land until then
        self.asked_to_drain: Callable[[str], None] = lambda why: None

    # -- the loop ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Claim, run and settle until drained. A drain is the same loop, wanting nothing.

        Raises:
            BrokerUnavailable: Redis was away for longer than allowed.
            UsageError: a key of ours was replaced by one of another type.
        """
        for waiter in self._waiters:
            waiter.start(self.fail)
        self._woken.set()
        try:
            while self._has_business():
                await self._woken.wait()
                self._woken.clear()
                if self.outage.since is not None:
                    await self.outage.pause()
                if self._failure is not None:
                    raise self._failure
                await self._turn()
                for waiter in self._waiters:
                    waiter.look()
        finally:
            self.claiming = False
            await asyncio.gather(*(waiter.end(within_s=2) for waiter in self._waiters))

    def _has_business(self) -> bool:
        if self.claiming or self.running or self._finished:
            return True
        # A claim whose reply is still to come, or was lost: what it brought is given back.
        return self.outage.since is None and bool(self._reserved() or self._claims.lost)

    async def _turn(self) -> None:
        """One exchange, if there is anything to exchange."""
        if not self.claiming:
            self._finished.sort(key=newest_first)  # each goes to the front: the oldest is last
        batch = self._finished[:SETTLE_MAX]
        want = self._want()
        if not batch and not self._look_due and (want == 0 or self._idle):
            await self._ask_gate()
            return
        try:
            if self._claims.lost:
                await self._adopt()
                want = self._want()
            reply = await self._exchange(batch, want)
        except BrokerUnavailable as error:
            await self._went_away(error)
            return
        if self.outage.since is not None:
            self.outage.over()
            self.suspicious_until = time.monotonic() + 2 * self._config.lease_s
        self._hand_in(batch, reply)
        self._take(reply, want)
        await self._ask_gate()

    async def _ask_gate(self) -> None:
        """Let claimed tasks of limited types start, and held ones come back where there is room."""
        if self._gate is None or not self._gate.due:
            return
        try:
            room = self._want() or -1 if self.claiming and not self._paused else 0
            if await self._gate.turn(room):
                self._claim_again()
        except BrokerUnavailable as error:
            await self._went_away(error)

    async def _exchange(self, batch: list[Execution], want: int) -> Exchanged:
        self._look_due = False
        # After a gap another worker may have taken what we hold: then each tag is looked at.
        gap_at = self._lease.gap_at
        one_by_one = self._resend or (gap_at > 0 and any(e.taken <= gap_at for e in batch))
        settled: list[Settlement | str] = [
            e.delivery.tag
            if e.outcome is Outcome.SUCCEEDED and (e.task is None or e.task.run is None)
            else settlement_of(e, self._lease.redis_time)
            for e in batch
        ]
        hands = len(self.running) + self._reserved()
        first = self._claims.begin(want)
        before = time.monotonic()
        try:
            reply = await self._broker.exchange(settled, want, first, hands, one_by_one)
        except BrokerUnavailable:
            if self._broker.exchange_sent and want:
                self._claims.lost.append((first, want))
            raise
        finally:
            self._claims.open_want = 0
        self.exchanged_at = time.monotonic()
        self._journal.metrics.roundtrip.observe(self.exchanged_at - before)
        self._claims.brought(first, want, len(reply.deliveries))
        return reply

    def _want(self) -> int:
        """How many tasks to ask for now."""
        free = self.slots.free if self.claiming else 0
        if self._config.max_tasks is not None:
            free = min(free, self._config.max_tasks - self._counted - len(self.running))
        free -= self._reserved() + self._claims.open_want
        if self._make_room and (self.running or self._reserved()):
            return 1 if self._look_due and free > 0 else 0
        return max(0, min(free, self._share))

    def _reserved(self) -> int:
        """Slots set aside for a claim that rides on a blocking move; only a single one has it."""
        return self._waiters[0].reserved

    def has_room(self) -> bool:
        """Whether a task could be claimed now."""
        return self._want() > 0

    # -- what an exchange brought ----------------------------------------------------------------

    def _hand_in(self, batch: list[Execution], reply: Exchanged) -> None:
        """The batch reached Redis: forget it, and see which claims had been lost."""
        del self._finished[: len(batch)]
        self._lease.observe(reply.gap)
        missing = set(reply.missing)
        unnamed = reply.missing.count(b"") if missing else 0
        for execution in batch:
            if unnamed and execution.outcome is Outcome.SUCCEEDED:
                unnamed -= 1  # only their number is known
                self._not_found(execution)
            elif missing and execution.delivery.tag.encode() in missing:
                self._not_found(execution)
            else:
                self._journal.settled(execution)
        self._resend = False
        if self._gate is not None:
            self._gate.settled(batch)
        if self._counted == self._config.max_tasks and not self.running and not self._finished:
            self.asked_to_drain(f"max_tasks ({self._counted}) is reached")

    def _not_found(self, execution: Execution) -> None:
        if self._resend:
            self._journal.metrics.settles_unconfirmed += 1
            self._journal.settled(execution)
            return
        self._journal.claim_lost(execution)
        if execution.outcome in COUNTED:
            self._counted -= 1

    def _take(self, reply: Exchanged, want: int) -> None:
        """Start what was claimed."""
        if reply.too_large or self._unread:
            self._skip_too_large(reply.too_large)
        self._make_room = reply.why == "alone"
        if self._make_room and self._reserved():
            self._waiters[0].interrupt()
        self._paused = reply.why == "paused"
        if reply.why == "drain" and self.claiming:
            self.asked_to_drain("an operator asked for it")
        got = len(reply.deliveries)
        if want:
            self._idle = got + len(reply.too_large) < want and not reply.more
            if self._idle and reply.due_ms >= 0:
                self._look_in(reply.due_ms / 1000)
            self._woken.set()  # a turn more: there is more to claim, or it is time to wait
        for tag in reply.cancel:
            self.slots.cancel(tag)
        self._executor.clock_ms = reply.now_ms
        if got:
            self._journal.metrics.last_claim_at = time.time()
        for delivery in reply.deliveries:
            self._start(delivery)

    def _skip_too_large(self, found: list[tuple[int, bytes]]) -> None:
        """Tell of items that an exchange dead-lettered unread, each once."""
        sizes = [size for size, _ in found]
        found = [*found, *(one for one in self._unread if one[0] not in sizes)]
        self._unread.clear()
        for size, start in found:
            self._journal.invalid("too_large", size, start)

    def _start(self, delivery: Delivery) -> None:
        if not self.claiming:  # the drain began while this claim was under way
            execution = Execution(delivery)
            execution.end(Outcome.RELEASED)
            self._ended(execution)
            return
        times = delivery.deliveries
        # On its last delivery nothing runs beside it: it may take its neighbours along.
        self.slots.take(delivery, times > 0 and times + 1 >= self._config.max_deliveries)

    def _gated(self, execution: Execution) -> None:
        assert self._gate is not None
        self._gate.claimed(execution)
        self._woken.set()

    def _ended(self, execution: Execution) -> None:
        """An outcome waits here for the next exchange."""
        if execution.outcome in COUNTED:
            self._counted += 1
        self._finished.append(execution)
        self._woken.set()

    def fail(self, fault: BaseException) -> None:
        """Something of the worker's own broke: end the loop with it."""
        self._failure = self._failure or fault
        self.outage.hurry()
        self._woken.set()

    # -- waiting for work ------------------------------------------------------------------------

    def pause_types(self, types: frozenset[str]) -> None:
        """From now on set aside what is claimed of these types, and no others."""
        self._executor.paused_types = types

    def look_again(self) -> None:
        """Exchange soon even if nothing seems to be there; called every interval."""
        if self._gate is not None:
            self._gate.look()
        self._claim_again()

    def _claim_again(self) -> None:
        self._look_due = True
        self._idle = False
        self._woken.set()

    def _look_in(self, seconds: float) -> None:
        """Look again when a task gets due; a far one is found by the look of every interval."""
        if self._look_at is not None:
            self._look_at.cancel()
            self._look_at = None
        self._due_at = self._loop.time() + seconds
        if seconds <= self._config.interval_s:
            self._look_at = self._loop.call_later(seconds, self._claim_again)

    def may_wait(self) -> bool:
        """Whether a blocking move may be pending: a slot is free and the queue is empty."""
        return (
            self._idle
            and self.claiming
            and not self._paused
            and not self._make_room
            and not self._claims.lost
            and self.outage.since is None
            and self.has_room()
        )

    def due_in_s(self) -> float:
        """Seconds until the next delayed task, as far as it is known."""
        left_s = self._due_at - self._loop.time()
        return left_s if left_s > 0 else math.inf

    def reserve(self) -> int:
        """The number for the tag of a task that is claimed beside the exchanges."""
        return self._claims.reserve()

    def arrived(self, arrival: Arrival) -> bool:
        """A blocking move ended; True when what it moved is for another worker to take."""
        reply = arrival.exchanged
        if reply is not None:
            self.exchanged_at = time.monotonic()
            self._lease.observe(reply.gap)
            self._take(reply, 1)
        self._woken.set()
        if not arrival.moved:
            return False
        if reply is None or not reply.deliveries:
            self._idle = False
        return not self.has_room()  # every slot is filled: let it wake another worker

    def left_unread(self, size: int, start: bytes, number: int | None) -> None:
        """A blocking move brought an item that is too large to be read. The claim that rode on it,
        if any, has dead-lettered it, unless the next exchange does; its answer is lost."""
        if number is not None:
            self._claims.lost.append((number, 1))
            self._unread.append((size, start))

    def move_failed(self, error: BrokerUnavailable, number: int | None, sent: bool) -> float:
        """Once sent, it may have brought the task of that number. Returns the seconds until the
        next try."""
        if number is not None and sent:
            self._claims.lost.append((number, 1))
            self.suspicious_until = time.monotonic() + 2 * self._config.lease_s
        if self.claiming:
            self._journal.metrics.count_error(error.kind)
        self._claim_again()
        refused = error.kind != "connection"
        return min(self._config.interval_s, 1.0) if refused else 0.1

    # -- outage ----------------------------------------------------------------------------------

    async def _went_away(self, error: BrokerUnavailable) -> None:
        self._resend = True
        self._look_due = True
        self._woken.set()
        if error.kind == "wrong_type":
            error = await self._named(error)
        self.outage.began(error, len(self.running) + len(self._finished))

    async def _named(self, error: BrokerUnavailable) -> BrokerUnavailable:
        """A wrong type is named by its key: the server's own message does not."""
        try:
            wrong = await self._broker.wrong_key()
        except BrokerUnavailable:
            return error
        if not wrong:
            return error
        named = BrokerBroken(f"{wrong}: delete or rename it")
        named.kind = error.kind
        return named

    async def _adopt(self) -> None:
        """Take what a claim whose reply was lost had put in flight under our tags."""
        lost = self._claims.lost
        while lost:
            found = await self._broker.find(*lost[0])
            del lost[0]
            for delivery in found:
                self._start(delivery)

    def known_tags(self) -> tuple[int, list[str]]:
        """(n, tags): below number n, these are all the tags that this worker has."""
        numbers = [waiter.number for waiter in self._waiters if waiter.number is not None]
        below = self._claims.below(numbers)
        return below, [*self.running, *(e.delivery.tag for e in self._finished)]

    # -- stopping --------------------------------------------------------------------------------

    def drain(self, timeout_s: float) -> None:
        """Stop claiming; after `timeout_s` give back what still runs. Callable again."""
        if self.claiming:
            self.claiming = False
            for waiter in self._waiters:
                waiter.interrupt()
            self._loop.call_later(timeout_s, self.release)
        self._woken.set()

    def release(self) -> None:
        """Cancel what runs and give it back; what does not stop is left behind."""
        self.claiming = False
        self.slots.release()
        self.outage.give_up_in(2 * STUBBORN_S)
        self._woken.set()


def _share(slots: int) -> int:
    """Most tasks to claim in one exchange.

    Half of many slots: while one half runs, Redis settles and claims the other. Of few slots all,
    for then an exchange costs more than it would save.
    """
    return min((slots + 1) // 2 if slots >= 2 * WORTH_AN_EXCHANGE else slots, CLAIM_ITEMS)
