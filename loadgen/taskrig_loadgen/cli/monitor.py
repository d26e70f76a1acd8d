"""Watch the queue and its workers live: waiting, in flight, done, rate."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from taskrig.broker import QueueCommands
from taskrig.config.sections import Config
from taskrig.texts import printable
from taskrig_loadgen.cli import options
from taskrig_loadgen.cli.console import report_console
from taskrig_loadgen.cli.live import on_interrupt, run_loop
from taskrig_loadgen.connection import REDIS_ERRORS, clear_errors, connected, describe
from taskrig_loadgen.quantity import duration_s, show_rate
from taskrig_loadgen.queueview import QueueView, look

EXAMPLE = "loadgen monitor --for 3s"


WORKERS_SHOWN = 30


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen monitor`."""
    parser.add_argument(
        "--every", default="1s", metavar="TIME", help="time between two looks (default 1s)"
    )
    parser.add_argument(
        "--for", dest="length", metavar="TIME", help="stop after this time (default: at Ctrl-C)"
    )
    parser.add_argument("--once", action="store_true", help="print one line, then end")


def run(args: argparse.Namespace) -> int:
    """`loadgen monitor`: ends with Ctrl-C, or by --for or --once."""
    config = options.read_config(args)
    every_s = duration_s(args.every, "--every")
    length_s = duration_s(args.length, "--for") if args.length else None
    if args.once:
        length_s = 0.0
    return run_loop(_watch(config, every_s, length_s))


async def _watch(config: Config, every_s: float, length_s: float | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    deadline = None if length_s is None else loop.time() + length_s
    async with connected(config) as client:
        commands = QueueCommands(config)
        with clear_errors(config):
            before = await look(client, commands)
        with on_interrupt(stop.set), _screen(config, plain=length_s == 0) as show:
            view, problem, rate = before, "", 0.0
            while True:
                show(view, rate, problem)
                left = every_s if deadline is None else min(every_s, deadline - loop.time())
                if left <= 0 or await _stopped_within(stop, left):
                    return 130 if stop.is_set() and length_s is not None else 0
                try:
                    view, before, problem = await look(client, commands), view, ""
                    rate = (view.done - before.done) / max(view.at - before.at, 1e-3)
                except REDIS_ERRORS as error:
                    problem = describe(config, error)


Show = Callable[[QueueView, float, str], None]


@contextmanager
def _screen(config: Config, *, plain: bool) -> Iterator[Show]:
    """What shows a look at the queue: a picture where stdout is a terminal, else lines.

    Nothing is redirected: where stderr goes is no matter of the picture on stdout.
    """
    console = report_console()
    if plain or not sys.stdout.isatty() or console.is_dumb_terminal:
        yield lambda view, rate, problem: print(_line(view, rate, problem), flush=True)
        return
    with Live(
        auto_refresh=False, console=console, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield lambda view, rate, problem: live.update(
            _picture(view, rate, problem, config), refresh=True
        )


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True


def _line(view: QueueView, rate: float, problem: str) -> str:
    if problem:
        return printable(problem)
    paused = "  PAUSED" if view.paused else ""
    return (
        f"waiting {view.waiting:,}  in flight {view.in_flight:,}  delayed {view.delayed:,}  "
        f"done {view.done:,} ({show_rate(rate)})  dead letters {view.dead_letters:,}  "
        f"workers {len(view.workers)}  slots {view.concurrency}{paused}"
    )


def _picture(view: QueueView, rate: float, problem: str, config: Config) -> RenderableType:
    head = Text(f"queue {config.queue.key}", style="bold")
    if problem:
        return Group(head, Text(problem, style="red"))
    figures = Table.grid(padding=(0, 2))
    for name, value in (
        ("waiting", f"{view.waiting:,}"),
        ("in flight", f"{view.in_flight:,} of {view.concurrency:,} slots"),
        ("delayed", f"{view.delayed:,}"),
        ("done", f"{view.done:,}   {show_rate(rate)}"),
        ("dead letters", f"{view.dead_letters:,}"),
    ):
        figures.add_row(name, value)
    totals = "  ".join(
        f"{name} {count:,}"
        for name, count in sorted(view.totals.items())
        if not name.endswith("_at")
    )
    workers = Table(box=None, pad_edge=False)
    for column in ("worker", "host", "pid", "running"):
        workers.add_column(column)
    for one in view.workers[:WORKERS_SHOWN]:
        running = f"{one.running:,} of {one.concurrency:,}"
        workers.add_row(Text(one.id), Text(one.host), str(one.pid), running)
    if len(view.workers) > WORKERS_SHOWN:
        workers.add_row(f"... and {len(view.workers) - WORKERS_SHOWN:,} more")
    if not view.workers:
        workers = Table.grid()
        workers.add_row(Text("no live worker: tasks wait until one starts", style="red"))
    paused = Text("paused", style="yellow") if view.paused else Text("")
    return Group(head, figures, Text(totals, style="dim"), paused, workers)
