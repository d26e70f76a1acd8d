"""Runs an experiment in front of a person: live view, plain lines, Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from taskrig.frame.output import is_quiet, remark
from taskrig.runtime import early
from taskrig_loadgen.cli.console import live_console
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.maths.stats import percentile, supported
from taskrig_loadgen.quantity import show_rate, show_s
from taskrig_loadgen.result.ledger import SUCCEEDED, Ledger
from taskrig_loadgen.result.model import Result
from taskrig_loadgen.run.experiment import Experiment, Stage

FRAMES_PER_S = 8
# Up to this rate what is due is counted off a copy of the schedule. Above, the profile tells it
# (with Poisson, on average): to count 60,000 would hold up the sender for 40 ms, each second.
COUNTED_PER_S = 2000
RECENT = 2000  # tasks of each type that the live percentiles look back on
NO_WORKER = "no live worker on {queue!r}: tasks wait until one starts (start one with: worker run)"

PAUSED = "{queue!r} is paused: no worker takes a task until it is resumed (worker resume)"

T = TypeVar("T")


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where there is one, with what has been imported out of the collector's way.

    A full collection over every imported module takes tens of milliseconds: a send lag of ours.
    """
    gc.collect()
    gc.freeze()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextlib.contextmanager
def on_interrupt(call: Callable[[], None]) -> Any:
    """Call `call` on SIGINT, SIGTERM and SIGHUP instead of dying; for a running loop.

    Inside another one only the inner is called, and after it the outer again.
    """
    loop = asyncio.get_running_loop()
    _on_interrupt.append(call)
    before = {number: signal.getsignal(number) for number in early.ENDING}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]  # nohup asks for that
    for number in before:
        loop.add_signal_handler(number, lambda: _on_interrupt[-1]())
    try:
        yield
    finally:
        _on_interrupt.pop()
        for number, handler in before.items() if not _on_interrupt else ():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


_on_interrupt: list[Callable[[], None]] = []


async def conduct(
    experiment: Experiment,
    workload: Workload,
    queue: str,
    *,
    follow: bool = True,
    wait_on_interrupt: bool = False,
    quiet: bool = False,
) -> Result:
    """Run it, show how it goes, and let Ctrl-C end it with a report."""

    def interrupt() -> None:
        experiment.interrupt(wait=wait_on_interrupt)
        remark("interrupted: accounting for what was sent")

    with on_interrupt(interrupt):
        running = asyncio.create_task(experiment.run(follow=follow))
        view = _View(experiment.stage, workload, queue)
        show = _lines if not sys.stderr.isatty() else _live
        if not quiet and not is_quiet():
            await show(view, running, experiment)
        return await running


async def conduct_all(
    experiments: Sequence[Experiment], *, wait_on_interrupt: bool = False
) -> list[Result]:
    """Run several at once, one plain line a second for all of them; Ctrl-C ends them all.

    Where one fails, the others stop sending and account for what they have sent.

    Raises:
        TaskrigError: the first failure, after all have ended.
    """

    def interrupt() -> None:
        for one in experiments:
            one.interrupt(wait=wait_on_interrupt)
        remark("interrupted: accounting for what was sent")

    with on_interrupt(interrupt):
        running = [asyncio.create_task(one.run()) for one in experiments]
        failed = False
        while pending := [one for one in running if not one.done()]:
            await asyncio.wait(pending, timeout=1.0, return_when=asyncio.FIRST_EXCEPTION)
            if not failed and any(one.done() and one.exception() for one in running):
                failed = True
                for one in experiments:
                    one.interrupt()
            parts = []
            for one in experiments:
                ledger, view = one.stage.ledger, one.stage.view
                if ledger is not None and view is not None:
                    told = f"sent {ledger.sent_count:,} done {ledger.done:,}"
                    away_s, depth = one.stage.away_s, f"waiting {view.waiting:,}"
                    depth = f"REDIS IS AWAY for {show_s(away_s)}" if away_s else depth
                    parts.append(f"{one.queue}: {told} {depth}")
            if parts and any(not one.done() for one in running):
                remark("  |  ".join(parts))
    return _all_results(await asyncio.gather(*running, return_exceptions=True))


def _all_results(ended: Sequence[Result | BaseException]) -> list[Result]:
    """What several runs have found; raises the first failure, after a word on the others."""
    results = [one for one in ended if isinstance(one, Result)]
    fault = next((one for one in ended if isinstance(one, BaseException)), None)
    if fault is None:
        return results
    for result in results:
        books = result.accounting
        remark(f"{result.queue}: stopped, {books.sent:,} sent and {books.left:,} left in it")
    raise fault


async def _live(view: _View, running: asyncio.Task[Result], experiment: Experiment) -> None:
    while experiment.stage.view is None and not running.done():  # a question may be open
        await asyncio.wait([running], timeout=1 / FRAMES_PER_S)
    # stdout is left alone: it may go elsewhere than this picture on stderr.
    with Live(
        console=live_console(), auto_refresh=False, transient=True, redirect_stdout=False
    ) as live:
        while not running.done():
            view.stage = experiment.stage
            live.update(view.picture(), refresh=True)
            await asyncio.wait([running], timeout=1 / FRAMES_PER_S)
            view.warn_without_worker(live.console.print)


async def _lines(view: _View, running: asyncio.Task[Result], experiment: Experiment) -> None:
    """One plain line a second."""
    while True:
        await asyncio.wait([running], timeout=0.1)
        view.stage = experiment.stage
        view.warn_without_worker(remark)
        if running.done():
            return
        await asyncio.wait([running], timeout=0.9)
        if not running.done():
            remark(view.line())


class _View:
    """Turns a stage into a line or a picture."""

    def __init__(self, stage: Stage, workload: Workload, queue: str) -> None:
        self.stage = stage
        self._workload = workload
        self._queue = queue
        self._warned = False
        self._recent: dict[int, deque[float]] = {}
        profile = workload.profile
        rates = [rate for s in profile.segments for rate in (s.first, s.last)] if profile else []
        self._counts = max(rates, default=0.0) <= COUNTED_PER_S
        self._due = workload.due()
        self._next_due = next(self._due, None)
        self._offered = 0

    def warn_without_worker(self, say: Callable[[str], None]) -> None:
        """Say once, and at once, that nobody works on this queue."""
        view = self.stage.view
        if view is None or self._warned:
            return
        if not view.workers:
            self._warned = True
            say(NO_WORKER.format(queue=self._queue))
        elif view.paused and self.stage.phase == "draining":
            self._warned = True
            say(PAUSED.format(queue=self._queue))

    def line(self) -> str:
        """Everything that matters, in one plain line."""
        return "  ".join(f"{name} {text}" for name, text in self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        stage, view, ledger = self.stage, self.stage.view, self.stage.ledger
        if ledger is None or view is None:
            return [("", stage.phase)]
        self._take(ledger)
        elapsed = stage.elapsed_s()
        facts = [("t", f"{elapsed:.0f}s")]
        if self._workload.profile:
            facts.append(("offered", f"{self._offered_by(elapsed):,}"))
        failed = ledger.done - ledger.by_outcome[SUCCEEDED]
        facts += [
            ("sent", f"{ledger.sent_count:,}"),
            ("done", f"{ledger.by_outcome[SUCCEEDED]:,}"),
            *([("failed", f"{failed:,}")] if failed else []),
        ]
        if stage.away_s:
            facts.append(("REDIS IS AWAY", f"for {show_s(stage.away_s)}"))
        else:
            facts += [
                ("waiting", f"{view.waiting:,}"),
                ("in flight", f"{view.in_flight:,}"),
                ("workers", f"{len(view.workers)}"),
            ]
        values = sorted(value for recent in self._recent.values() for value in recent)
        if supported(len(values), 0.5):
            facts.append(("e2e p50", show_s(percentile(values, 0.5))))
        if supported(len(values), 0.99):
            facts.append(("p99", show_s(percentile(values, 0.99))))
        left = self._left_s(ledger, elapsed)
        if left is not None:
            facts.append(("left", show_s(left)))
        return facts

    def _offered_by(self, elapsed: float) -> int:
        if not self._counts:
            return round(min(self._workload.offered_by(elapsed), self._workload.total))
        while self._next_due is not None and self._next_due <= elapsed:
            self._offered += 1
            self._next_due = next(self._due, None)
        return self._offered

    def _take(self, ledger: Ledger) -> None:
        fresh, ledger.fresh = ledger.fresh, []
        for number in fresh[-RECENT:]:
            recent = self._recent.setdefault(ledger.kind[number], deque(maxlen=RECENT))
            value = ledger.settled[number] - ledger.intended[number]
            if value == value and ledger.outcome[number] == SUCCEEDED:
                recent.append(value)

    def _left_s(self, ledger: Ledger, elapsed: float) -> float | None:
        """Seconds to the end of the schedule, or until all is done at the pace so far."""
        profile = self._workload.profile
        if profile and elapsed < profile.length_s:
            return profile.length_s - elapsed
        if ledger.done and elapsed > 0.5:
            return (ledger.sent_count - ledger.done) * elapsed / ledger.done
        return None

    def picture(self) -> RenderableType:
        """The live view: a bar, the facts, percentiles per type."""
        stage, ledger = self.stage, self.stage.ledger
        facts = self._facts()
        if ledger is None:
            return Text(stage.phase)
        total = max(self._workload.total, len(ledger), 1)
        bar = Table.grid(padding=(0, 1))
        share = f"{ledger.done:,} of {total:,.0f} done"
        bar.add_row(
            Text(stage.phase), ProgressBar(total=total, completed=ledger.done, width=40), share
        )
        line = Text("   ".join(f"{name} {text}" for name, text in facts))
        pace = Text(f"done {show_rate(ledger.done / max(stage.elapsed_s(), 0.1))}")
        return Group(bar, line, pace, *([self._per_type(ledger)] if self._recent else []))

    def _per_type(self, ledger: Ledger) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in ("type", "recent", "e2e p50", "e2e p99"):
            table.add_column(column, justify="left" if column == "type" else "right")
        for kind, recent in sorted(self._recent.items())[:20]:
            values = sorted(recent)
            cells = [
                show_s(percentile(values, share)) if supported(len(values), share) else "< 10"
                for share in (0.5, 0.99)
            ]
            table.add_row(Text(ledger.types[kind][:40]), f"{len(values)}", *cells)
        return table
