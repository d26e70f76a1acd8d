"""The loop: claim, run, settle, drain.

Duties: keep every slot busy while there is work, never more; hand in every outcome, again after
a lost reply; survive Redis going away; stop claiming when asked and give back what cannot end.

Two rules. Only handler tasks are ever cancelled: whatever talks to Redis is asked to end by a
flag. No error of an exchange ends a running handler.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Protocol

from worker.broker import CLAIM_ITEMS, Broker, Exchanged
from worker.config import Config
from worker.errors import BrokerBroken, BrokerRefused, BrokerUnavailable, UsageError
from worker.executor import Execution, Executor
from worker.journal import Journal
from worker.task import Delivery, Outcome, Settlement

log = logging.getLogger("worker")

SETTLE_MAX = 1000  # outcomes per exchange
SWEEP_S = 0.05  # how late a timeout may be noticed; one sweep for all, no timer per task
STUBBORN_S = 1.0  # how long a cancelled handler may take to end before it is left behind
BROKEN_S = 20.0  # how long a refusal that waiting does not mend is borne
COUNTED = (Outcome.SUCCEEDED, Outcome.FAILED)  # what max_tasks counts


class LeaseView(Protocol):
    """What the consumer needs of the lease."""

    gap_at: float

    def observe(self, gap: bool) -> None: ...
    def lost(self) -> None: ...
    def redis_time(self, monotonic: float) -> float: ...


class Consumer:
    """Consumes one queue with one worker's slots."""

    def __init__(
        self, config: Config, broker: Broker, executor: Executor, lease: LeaseView, journal: Journal
    ) -> None:
        self._config = config.worker
        self._max_outage_s = config.redis.max_outage_s
        self._broker = broker
        self._executor = executor
        self._lease = lease
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._hurry = asyncio.Event()  # ends a pause between attempts
        self._may_wait = asyncio.Event()
        self._spawn = _spawner(self._loop)
        self.claiming = True
        self.running: dict[str, Execution] = {}
        self._finished: list[Execution] = []
        self._overdue: set[Execution] = set()  # plain functions that outlived their timeout
        self._next = 1  # the number of the next tag; never reused
        self._open_from = 1  # the first number that the latest exchange could have used
        self._asked: list[tuple[int, int]] = []  # (first, count) of claims whose reply was lost
        self._counted = 0
        self._idle = False  # the last exchange got less than it asked for
        self._paused = False
        self._look_due = True
        self._alone: Execution | None = None
        self._make_room = False  # an entry on its last delivery waits for this worker to be idle
        self._sweeping = False
        self._give_up_at: float | None = None
        # Outage
        self.away_since: float | None = None
        self._away_error: BrokerUnavailable | None = None
        self._resend = False
        self._pause_s = 0.0
        # For those who watch
        self.exchanged_at = time.monotonic()
        self.suspicious_until = 0.0  # a lost command may still land until then
        self.failure: BaseException | None = None
        self.drain_reason = ""
        self.left_behind = 0  # handlers that swallowed their cancellation, and threads
        self.asked_to_drain: Callable[[str], None] = lambda why: None

    # -- the loop ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Claim, run and settle until drained. A drain is the same loop, wanting nothing.

        Raises:
            BrokerUnavailable: Redis was away for longer than allowed.
            UsageError: a key of ours was replaced by one of another type.
        """
        waiting = self._loop.create_task(self._wait_for_arrivals())
        waiting.add_done_callback(self._waiter_ended)
        self._woken.set()
        try:
            while self.claiming or self.running or self._finished:
                await self._woken.wait()
                self._woken.clear()
                if self.failure is not None:
                    raise self.failure
                await self._turn()
                self._decide_to_wait()
        finally:
            self.claiming = False
            self._may_wait.set()
            self._broker.stop_waiting()
            await asyncio.wait([waiting], timeout=2)

    async def _turn(self) -> None:
        """One exchange, if there is anything to exchange."""
        if self.away_since is not None:
            await self._pause()
        if not self.claiming:
            self._finished.sort(key=_newest_first)  # each goes to the front: the oldest is last
        batch = self._finished[:SETTLE_MAX]
        want = self._want()
        if not batch and not self._look_due and (want == 0 or self._idle):
            return
        try:
            if self._asked:
                await self._adopt()
                want = self._want()
            reply = await self._exchange(batch, want)
        except BrokerUnavailable as error:
            self._went_away(await self._diagnosed(error))
            return
        if self.away_since is not None:
            self._came_back()
        self._hand_in(batch, reply)
        self._take(reply, want)

    async def _exchange(self, batch: list[Execution], want: int) -> Exchanged:
        first = self._next
        self._next += want
        self._look_due = False
        before = time.monotonic()
        self._open_from = first
        # After a gap another worker may have taken what we hold: then each tag is looked at.
        gap_at = self._lease.gap_at
        one_by_one = self._resend or (gap_at > 0 and any(e.started <= gap_at for e in batch))
        try:
            reply = await self._broker.exchange(
                [self._settlement(e) for e in batch], want, first, len(self.running), one_by_one
            )
        except BrokerUnavailable:
            if self._broker.exchange_sent and want:
                self._asked.append((first, want))
            raise
        self.exchanged_at = time.monotonic()
        self._journal.metrics.roundtrip.observe(self.exchanged_at - before)
        self._next = first + len(reply.deliveries)
        return reply

    def _want(self) -> int:
        """How many tasks to ask for now."""
        if not self.claiming or self._alone is not None:
            return 0
        free = self._config.max_concurrent - len(self.running) - len(self._overdue)
        if self._config.max_tasks is not None:
            reserved = self._counted + len(self.running)
            free = min(free, self._config.max_tasks - reserved)
        if self._make_room and self.running:
            return 1 if self._look_due and free > 0 else 0
        return max(0, min(free, CLAIM_ITEMS))

    # -- what an exchange brought ----------------------------------------------------------------

    def _settlement(self, execution: Execution) -> Settlement:
        task, outcome = execution.task, execution.outcome
        assert outcome is not None
        settlement = Settlement(execution.delivery.tag, outcome)
        if outcome is not Outcome.SUCCEEDED:
            settlement.type = task.type if task is not None else ""
            settlement.reason, settlement.error = execution.reason, execution.error
        if task is not None and task.run is not None:
            run, index = task.run
            start = self._lease.redis_time(execution.started)
            end = self._lease.redis_time(execution.ended)
            worker = execution.delivery.tag.partition(":")[0]
            settlement.run = run
            settlement.record = (
                f"{index} {outcome.value} {start:.6f} {end:.6f} {worker} "
                f"{execution.delivery.deliveries + 1}"
            )
        return settlement

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
        for size, start in reply.too_large:
            self._journal.invalid("too_large", size, start)
        self._make_room = reply.why == "alone"
        self._paused = reply.why == "paused"
        self._journal.metrics.paused = int(self._paused)
        if reply.why == "drain" and self.claiming:
            self.asked_to_drain("an operator asked for it")
        got = len(reply.deliveries)
        if want:
            self._idle = got + len(reply.too_large) < want and not reply.more
            self._woken.set()  # a turn more: there is more to claim, or it is time to wait
        if got:
            self._journal.metrics.last_claim_at = time.time()
        for delivery in reply.deliveries:
            self._start(delivery, reply.alone)

    def _start(self, delivery: Delivery, alone: bool = False) -> None:
        execution = Execution(delivery)
        execution.started = time.monotonic()
        self.running[delivery.tag] = execution
        times = delivery.deliveries
        if alone or (times and times + 1 >= self._config.max_deliveries):
            self._alone = execution  # nothing beside it: it may take its neighbours along
        if not self._executor.prepare(execution):
            self._end_early(execution)
            return
        self._journal.started(execution, len(self.running))
        if execution.deadline is not None and not self._sweeping:
            self._sweeping = True
            self._loop.call_later(SWEEP_S, self._sweep)
        execution.work = self._spawn(self._execute(execution))

    def _end_early(self, execution: Execution) -> None:
        """It never ran: an invalid item, or no handler takes it."""
        raw = execution.delivery.raw
        if execution.outcome is Outcome.INVALID:
            self._journal.invalid(execution.reason, len(raw), raw[:64])
        elif execution.outcome is Outcome.FAILED:
            log.warning("task failed: %s", execution.error)
        self._put_by(execution)

    async def _execute(self, execution: Execution) -> None:
        try:
            await self._executor.run(execution)
            self._ended(execution)
        except GeneratorExit:
            raise
        except BaseException as fault:
            self.fail(fault)

    def _ended(self, execution: Execution) -> None:
        """A handler is done; its outcome waits here for the next exchange."""
        if execution.delivery.tag not in self.running:
            return  # left behind earlier, and settled as released
        execution.ended = time.monotonic()
        if execution.thread is not None and execution.thread.is_alive():
            self._watch_thread(execution)
        self._journal.ended(execution)
        self._put_by(execution)

    def _put_by(self, execution: Execution) -> None:
        del self.running[execution.delivery.tag]
        if execution is self._alone:
            self._alone = None
        if execution.outcome in COUNTED:
            self._counted += 1
        self._finished.append(execution)
        self._woken.set()

    def fail(self, fault: BaseException) -> None:
        """Something of the worker's own broke: end the loop with it."""
        if self.failure is None:
            self.failure = fault
        self._woken.set()
        self._hurry.set()

    # -- waiting for work ------------------------------------------------------------------------

    def look_again(self) -> None:
        """Exchange soon even if nothing seems to be there; called every interval."""
        self._look_due = True
        self._idle = False
        self._woken.set()

    def _decide_to_wait(self) -> None:
        if self._should_wait():
            self._may_wait.set()
        else:
            self._may_wait.clear()

    def _should_wait(self) -> bool:
        return (
            self._idle
            and self.claiming
            and not self._paused
            and not self._make_room
            and self.away_since is None
            and self._want() > 0
        )

    async def _wait_for_arrivals(self) -> None:
        """Keep a blocking move pending while a slot is free and the queue is empty."""
        while self.claiming:
            await self._may_wait.wait()
            if not self._should_wait():
                self._may_wait.clear()
                continue
            try:
                arrived = await self._broker.wait_for_arrival()
                if arrived and self._want() == 0:
                    # Every slot was filled meanwhile: let it wake another worker.
                    await self._broker.pass_on()
            except BrokerUnavailable as error:
                if self.claiming:
                    self._journal.metrics.count_error(error.kind)
                    self.look_again()
                    await asyncio.sleep(
                        self._config.interval_s if error.kind != "connection" else 0.1
                    )
                continue
            self._idle = False
            self._may_wait.clear()
            self._woken.set()
        try:
            await self._broker.pass_on()
        except BrokerUnavailable:
            pass  # what arrived stays in arrivals, where any worker's exchange finds it

    def _waiter_ended(self, waiting: asyncio.Task[None]) -> None:
        if not waiting.cancelled() and waiting.exception() is not None:
            self.fail(waiting.exception() or RuntimeError("the waiter ended"))

    # -- outage ----------------------------------------------------------------------------------

    def _went_away(self, error: BrokerUnavailable) -> None:
        now = time.monotonic()
        self._journal.metrics.count_error(error.kind)
        self._lease.lost()
        self._resend = True
        self._look_due = True
        self._away_error = error
        if self.away_since is None:
            self.away_since = now
            self._pause_s = 0.05
            self._journal.redis_away(str(error))
        self._check_outage(error, now - self.away_since)
        self._woken.set()

    async def _diagnosed(self, error: BrokerUnavailable) -> BrokerUnavailable:
        """A wrong type is named by its key: the server's own message does not."""
        if error.kind != "wrong_type":
            return error
        try:
            wrong = await self._broker.wrong_key()
        except BrokerUnavailable:
            return error
        if not wrong:
            return error
        named = BrokerBroken(f"{wrong}: delete or rename it")
        named.kind = error.kind
        return named

    def _check_outage(self, error: BrokerUnavailable, away_s: float) -> None:
        for_good = isinstance(error, (BrokerRefused, BrokerBroken))
        limit_s = min(self._max_outage_s, BROKEN_S) if for_good else self._max_outage_s
        if self._give_up_at is not None and time.monotonic() >= self._give_up_at:
            limit_s = 0.0
        if away_s < limit_s:
            return
        held = len(self.running) + len(self._finished)
        text = (
            f"{error}; away for {away_s:.1f} s, {held} tasks stay in flight and will be reclaimed"
        )
        if isinstance(error, BrokerBroken):
            raise UsageError(text) from error
        raise BrokerUnavailable(text) from error

    async def _pause(self) -> None:
        """Wait a little longer each time, up to a second; not at all when in a hurry."""
        wait_s = self._pause_s * random.uniform(0.8, 1.2)
        self._pause_s = min(self._pause_s * 2, 1.0)
        try:
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()
        if self.failure is not None:
            raise self.failure

    def _came_back(self) -> None:
        now = time.monotonic()
        assert self.away_since is not None
        self._journal.redis_back(now - self.away_since)
        self.away_since = self._away_error = None
        self.suspicious_until = now + 2 * self._config.lease_s

    async def _adopt(self) -> None:
        """Take what a claim whose reply was lost had put in flight under our tags."""
        while self._asked:
            first, count = self._asked[0]
            found = await self._broker.find(first, count)
            del self._asked[0]
            for delivery in found:
                if delivery.tag in self.running:
                    continue
                if self.claiming:
                    self._start(delivery)
                else:
                    execution = Execution(delivery)
                    execution.end(Outcome.RELEASED)
                    self._finished.append(execution)

    def known_tags(self) -> tuple[int, list[str]]:
        """(n, tags): below number n, these are all the tags that this worker has."""
        below = min([self._open_from, *(first for first, _ in self._asked)])
        return below, [*self.running, *(e.delivery.tag for e in self._finished)]

    # -- stopping --------------------------------------------------------------------------------

    def drain(self, reason: str, timeout_s: float) -> None:
        """Stop claiming; after `timeout_s` give back what still runs. Callable again."""
        if self.claiming:
            self.claiming = False
            self.drain_reason = reason
            self._broker.stop_waiting()
            self._loop.call_later(timeout_s, self.release)
        self._woken.set()

    def release(self) -> None:
        """Cancel what runs and give it back; what does not stop is left behind."""
        self.claiming = False
        for execution in list(self.running.values()):
            self._stop(execution, "released")
        self._give_up_at = self._give_up_at or time.monotonic() + 2 * STUBBORN_S
        self._loop.call_later(STUBBORN_S, self._leave_behind)
        self._hurry.set()
        self._woken.set()

    def _leave_behind(self) -> None:
        for execution in list(self.running.values()):
            self.left_behind += 1
            execution.end(Outcome.RELEASED)
            self._ended(execution)
        self._hurry.set()

    def _stop(self, execution: Execution, reason: str) -> None:
        work = execution.work
        if execution.stop_reason or work is None:
            return
        execution.stop_reason = reason
        # A task cancelled before its first step runs none of its code: hence the callback.
        work.add_done_callback(lambda _: self._stopped_unstarted(execution))
        work.cancel()

    def _stopped_unstarted(self, execution: Execution) -> None:
        if execution.outcome is None:
            if execution.stop_reason == "released":
                execution.end(Outcome.RELEASED)
            else:
                execution.end(Outcome.FAILED, "timeout", "it ran into its timeout")
            self._ended(execution)

    def _sweep(self) -> None:
        """Stop what ran into its timeout; one sweep for all running tasks."""
        now = time.monotonic()
        self._sweeping = False
        for execution in list(self.running.values()):
            if execution.deadline is None:
                continue
            if execution.deadline <= now:
                self._stop(execution, "timeout")
            else:
                self._sweeping = True
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    def _watch_thread(self, execution: Execution) -> None:
        """A thread cannot be stopped: it keeps its slot until it ends."""
        if not self._overdue:
            self._loop.call_later(SWEEP_S, self._check_threads)
        self._overdue.add(execution)
        self._journal.metrics.overdue_threads = len(self._overdue)

    def _check_threads(self) -> None:
        for execution in [e for e in self._overdue if e.thread is None or not e.thread.is_alive()]:
            self._overdue.discard(execution)
            self._woken.set()
        self._journal.metrics.overdue_threads = len(self._overdue)
        if self._overdue:
            self._loop.call_later(SWEEP_S, self._check_threads)

    @property
    def stuck_threads(self) -> int:
        """Threads that still run although their tasks have ended here."""
        return len(self._overdue)


def _newest_first(execution: Execution) -> int:
    return -int(execution.delivery.tag.rpartition(":")[2])


def _spawner(
    loop: asyncio.AbstractEventLoop,
) -> Callable[..., asyncio.Task[None]]:
    """How a handler is started: at once where the interpreter can (3.12), else in the next turn."""
    return loop.create_task
