"""One run from the first push to the last completion: sender and observer side by side.

Nothing that talks to Redis is ever cancelled: both are asked to end, and end by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskrig.broker import QueueCommands
from taskrig.errors import TaskrigError
from taskrig_loadgen.analysis.prediction import predict
from taskrig_loadgen.connection import (
    REDIS_ERRORS,
    RedisOutOfReach,
    clear_errors,
    connected,
    describe,
)
from taskrig_loadgen.load.workload import SEND_GRACE_S, Workload
from taskrig_loadgen.queueview import QueueView, look
from taskrig_loadgen.result.build import make_result
from taskrig_loadgen.result.ledger import Ledger
from taskrig_loadgen.result.model import Away, Calibration, Result
from taskrig_loadgen.result.record import RunRecord, Whereabouts
from taskrig_loadgen.run.abort import ConnectionAborter
from taskrig_loadgen.run.barrier import sleep_until, wait_at
from taskrig_loadgen.run.clock import Offset, drift_s, measure_offset
from taskrig_loadgen.run.environment import describe_environment, safe_command
from taskrig_loadgen.run.external_observer import ExternalObserver, scrape, seen_outside
from taskrig_loadgen.run.observer import POLL_S, Observer
from taskrig_loadgen.run.sender import Sender, TaskWriter

if TYPE_CHECKING:
    from taskrig.config.sections import Config

EMPTY_FOR_S = 1.0  # nothing waiting, running or recorded for so long: what is open is searched
SEARCH_EVERY_S = 5.0
BARRIER_TIMEOUT_S = 120.0  # for the other generators to come
BUSY_PATIENCE = 10  # times the drain timeout, while a live worker still runs something
LEAST_PATIENCE_S = 5.0  # with a Redis that is away when all is to be accounted for


class InterruptedEarly(TaskrigError):
    """Ctrl-C before the first push, and Redis did not answer: there is nothing to report."""

    exit_code = 130


@dataclass(slots=True)
class Stage:
    """What the live view and the Ctrl-C handler see of a run while it runs."""

    phase: str = "connecting"
    run_id: str = ""
    ledger: Ledger | None = None
    view: QueueView | None = None
    started: float | None = None  # server time of the first intended task
    offset: Offset | None = None
    away_s: float = 0.0  # for how long Redis has not answered

    def elapsed_s(self) -> float:
        """Seconds since the first task was due."""
        if self.started is None or self.offset is None:
            return 0.0
        return self.offset.server_time(time.perf_counter()) - self.started


class Experiment:
    """Runs one workload against one queue; `stage` shows how far it is."""

    def __init__(
        self,
        config: Config,
        workload: Workload,
        *,
        kind: str,
        when_sent: Callable[[], Awaitable[None]] | None = None,
        barrier: tuple[str, int] | None = None,
        observe: str = "probe",
        scrape_urls: Sequence[str] = (),
        calibration: Calibration | None = None,
        ask_first: Callable[[QueueView], Awaitable[None]] | None = None,
    ) -> None:
        """What to run and how to watch it.

        Args:
            kind: names the command in the result: mix, run, drain, ...
            when_sent: called between the last push and the following (drain lets go there).
            barrier: name and number of the generators that start together.
            observe: probe (completion records), or from outside: queue, metrics.
            scrape_urls: /metrics of every worker, for metrics.
            calibration: what a short run before this one has shown, for the forecast.
            ask_first: called before the first push; what it raises ends the run.
        """
        self._ask_first = ask_first
        self._barrier = barrier
        self._observe_by = observe
        self._scrape_urls = scrape_urls
        self._calibration = calibration
        self._when_sent = when_sent
        self._config = config
        self._workload = workload
        self._kind = kind
        self._commands = QueueCommands(config)
        self._keys = self._commands.keys
        self._stop = asyncio.Event()
        self._aborter = ConnectionAborter()
        self._give_up = self._aborter.given_up
        self._sender: Sender | None = None
        self._searched = 0.0
        self.interrupted = False
        self.queue = config.queue.key
        self.stage = Stage()

    def interrupt(self, *, wait: bool = False) -> None:
        """Stop offering. With `wait`, follow what was sent to its end; a second call does not.

        Called once more, it does not even wait for what Redis has been asked.
        """
        if self.interrupted or not wait:
            self._aborter.give_up()
        self.interrupted = True
        self._stop.set()
        if self._sender is not None:
            self._sender.stop()

    async def run(self, *, follow: bool = True) -> Result:
        """Push, follow, and account for every task.

        Raises:
            RedisOutOfReach: Redis is out of reach at the start. At the end it is in the result.
            InterruptedEarly: by Ctrl-C, with Redis out of reach at the start.
        """
        try:
            async with self._aborter.watching(self._config):
                return await self._run(follow)
        except RedisOutOfReach as error:
            if self.interrupted:
                raise InterruptedEarly(f"interrupted before the first push: {error}") from None
            raise

    async def _run(self, follow: bool) -> Result:
        config, clients = self._config, self._aborter.clients
        async with (
            connected(config, clients=clients) as client,
            connected(config, clients=clients) as watching,
        ):
            with clear_errors(config):
                environment = await describe_environment(client, config)
                offset = await measure_offset(client)
                view = await look(client, self._commands)
            await self._asked(view)
            forecast = predict(self._workload, view.concurrency, self._calibration)
            run_id = secrets.token_hex(6)
            ledger = Ledger(self._workload.mix.types)
            sender = Sender(
                client,
                self._workload.list or self._keys.queue,
                ledger,
                TaskWriter(run_id, ledger.types, self._workload.bodies, self._workload.order),
                offset,
                push_right=config.queue.pop == "left",
                patience_s=self._workload.drain_timeout_s,
            )
            cls = Observer if self._observe_by == "probe" else ExternalObserver
            observer = cls(watching, self._commands, run_id, ledger)
            before = await scrape(self._scrape_urls)
            observer.views.append(view)
            observer.offset = offset
            self.stage = Stage("sending", run_id, ledger, view, None, offset)
            self._sender = sender
            await self._meet(client, offset)
            if self._stop.is_set():
                sender.stop()
            await self._send_and_follow(sender, observer, follow)
            self.stage.phase = "accounting"
            where, end = await self._account(observer, client)
            record = RunRecord(
                kind=self._kind,
                run_id=run_id,
                command=safe_command(sys.argv),
                started=sender.started,
                queue=self._keys.queue,
                workload=self._workload,
                ledger=ledger,
                where=where,
                views=observer.views,
                send=sender.report,
                away=[
                    Away(
                        at_s=offset.server_time(since) - sender.started,
                        length_s=until - since,
                        looks=looks,
                    )
                    for since, until, looks in observer.away
                ],
                interrupted=self.interrupted,
                followed=follow,
                clock_error_s=max(one.error_s for one in (offset, end) if one is not None),
                clock_drift_s=_furthest(drift_s(offset, end) if end else None, observer.stepped_s),
                environment=environment,
                calibration=self._calibration,
                forecast=forecast,
            )
        if self._observe_by != "probe":
            record.outside = await seen_outside(
                self._observe_by,
                observer.views,
                ledger.sent_count,
                min(ledger.sent, default=record.started),
                self._scrape_urls,
                before,
            )
        return make_result(record)

    async def _asked(self, view: QueueView) -> None:
        """Ask whether to begin, where somebody is to be asked; Ctrl-C is an answer too."""
        if self._ask_first is None:
            return
        asking = asyncio.ensure_future(self._ask_first(view))
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait([asking, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not asking.done():
            asking.cancel()
            raise InterruptedEarly("interrupted before the first push: nothing was sent")
        await asking

    async def _meet(self, client: Any, offset: Offset) -> None:
        """Wait for the other generators, if there are any, and for the common start."""
        if self._barrier is None:
            return
        self.stage.phase = "waiting for the others"
        name, count = self._barrier
        with clear_errors(self._config):
            start = await wait_at(
                client,
                self._keys,
                name,
                count,
                timeout_s=BARRIER_TIMEOUT_S,
                stopped=self._stop.is_set,
            )
        await sleep_until(start, offset)
        self.stage.phase = "sending"

    async def _send_and_follow(self, sender: Sender, observer: Observer, follow: bool) -> None:
        sending = asyncio.create_task(self._send(sender))
        while not sending.done():
            await self._watch(observer, sender)
        await sending
        if self._when_sent is not None and not self._give_up.is_set():
            with contextlib.suppress(TaskrigError):  # what was sent is accounted for all the same
                await self._when_sent()
        observer.last_progress = time.perf_counter()
        if follow:
            self.stage.phase = "draining"
            while not self._give_up.is_set():
                await self._watch(observer, sender)
                if await self._is_over(observer):
                    break

    async def _send(self, sender: Sender) -> None:
        workload = self._workload
        if workload.profile is None:
            await sender.send_all(workload.kinds())
        else:
            until_s = workload.profile.length_s + SEND_GRACE_S
            await sender.send_on_schedule(workload.kinds(), workload.due(), until_s=until_s)

    async def _watch(self, observer: Observer, sender: Sender) -> None:
        if not await observer.step():
            await asyncio.sleep(POLL_S)
        self.stage.view = observer.views[-1]
        self.stage.away_s = observer.away_s
        self.stage.started = sender.started or None

    async def _is_over(self, observer: Observer) -> bool:
        """Whether every task is accounted for, or nothing has moved for too long."""
        ledger = observer.ledger
        if ledger.all_done:
            return True
        now = time.perf_counter()
        still_s = now - observer.last_progress
        view = observer.views[-1]
        patience_s = self._workload.drain_timeout_s
        if now - observer.last_answer > patience_s:
            return True
        if view.workers and view.in_flight:
            patience_s *= BUSY_PATIENCE
        if still_s > patience_s:
            return True
        empty = not (view.waiting or view.in_flight or view.delayed)
        due = EMPTY_FOR_S if empty else SEARCH_EVERY_S
        if still_s > due and now - self._searched > due:
            self._searched = now
            return await self._all_accounted_for(observer)
        return False

    async def _all_accounted_for(self, observer: Observer) -> bool:
        """Whether what is still open is nowhere any more: lost tasks will not come back."""
        try:
            where = await observer.search()
        except REDIS_ERRORS:
            return False
        return not (where.waiting or where.in_flight or where.delayed)

    async def _account(self, observer: Observer, client: Any) -> tuple[Whereabouts, Offset | None]:
        """The final search; waits for a Redis that is away at this moment, but not for ever."""
        patience_s = max(self._workload.drain_timeout_s, LEAST_PATIENCE_S)
        while True:
            try:
                where = await observer.search()
                observer.answered()
                observer.views.append(await look(client, self._commands))
                if observer.ledger.all_done:
                    await observer.forget()
                return where, await measure_offset(client)
            except REDIS_ERRORS as error:
                away_s = time.perf_counter() - observer.last_answer
                if away_s > patience_s or self._give_up.is_set():
                    observer.answered()  # so that it has an end in the report
                    return observer.unsearched(self._why(error)), None
                await asyncio.sleep(0.2)

    def _why(self, error: BaseException) -> str:
        """Why there was no final search, in one line."""
        if self._aborter.at_once:
            return "interrupted again while Redis was asked"
        cut = self._aborter.has_cut
        return describe(self._config, TimeoutError("it does not answer") if cut else error)


def _furthest(drift: float | None, stepped: float) -> float | None:
    """How far the server's clock was from where it should be, at the end or in between."""
    if drift is None:
        return stepped or None
    return max(drift, stepped, key=abs)
