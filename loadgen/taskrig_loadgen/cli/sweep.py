"""Run one mix at several concurrencies, with workers of its own, beside the ideal schedule."""

from __future__ import annotations

import argparse
import asyncio
import json

import msgspec

from taskrig.config.sections import Config
from taskrig.errors import TaskrigError
from taskrig.frame.output import remark
from taskrig_loadgen.cli import options, output
from taskrig_loadgen.cli.console import report_console
from taskrig_loadgen.cli.live import conduct, on_interrupt, run_loop
from taskrig_loadgen.load.mix import EXAMPLE as CARD
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.report import sweep as report
from taskrig_loadgen.result.model import Result
from taskrig_loadgen.result.verdict import exit_code
from taskrig_loadgen.run.experiment import Experiment
from taskrig_loadgen.run.own_workers import forget_queue, own_queue, own_worker

EXAMPLE = "loadgen sweep --mix fast=4 --concurrency 1,2 --html sweep.html"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen sweep`."""
    options.add_mix(parser, required=False)
    parser.set_defaults(mix=CARD)
    parser.add_argument(
        "--concurrency",
        default="1,2,5,10",
        metavar="N,...",
        help="numbers of slots to try (default 1,2,5,10)",
    )
    parser.add_argument(
        "--repeat",
        default="1",
        metavar="N",
        help="runs for each number of slots, of which the median counts (default 1)",
    )
    options.add_follow(parser)
    parser.add_argument(
        "--out", type=output.file_name, metavar="FILE", help="write the sweep to this file as JSON"
    )
    output.add_texts(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """`loadgen sweep`: needs Redis and no worker; uses a queue of its own."""
    config = options.read_config(args)
    output.check_targets(args)
    mix = options.read_mix(args, config)
    slots = options.counts(args.concurrency, "--concurrency")
    repeat = options.whole(args.repeat, "--repeat")
    workload = Workload(mix=mix, seed=args.seed, drain_timeout_s=options.drain_timeout_s(args))
    stopped = asyncio.Event()
    runs = run_loop(_sweep(config, workload, slots * repeat, args, stopped))
    sweep = report.make_sweep(runs)
    files = [("result", args.out, lambda: _json(sweep))] if args.out else []
    made = output.texts(args, {"html": report.page, "markdown": report.summary}, sweep)
    output.leave([*files, *made], lambda: _show(sweep, as_json=args.json))
    return 130 if stopped.is_set() else max((exit_code(result) for result in runs), default=1)


def _json(sweep: report.Sweep) -> str:
    return json.dumps(msgspec.to_builtins(sweep), indent=1, allow_nan=False)


def _show(sweep: report.Sweep, *, as_json: bool) -> None:
    if as_json:
        print(_json(sweep))
    elif sweep.points:
        for part in report.render(sweep):
            report_console().print(part)


async def _sweep(
    config: Config,
    workload: Workload,
    slots: list[int],
    args: argparse.Namespace,
    stopped: asyncio.Event,
) -> list[Result]:
    """A result for each of `slots`, or as far as it came until Ctrl-C set `stopped`."""
    results: list[Result] = []
    own = own_queue(config, "sweep")
    with on_interrupt(stopped.set):  # also while a worker starts or ends
        try:
            for count in slots:
                remark(f"{count} slots: {workload.mix.text}")
                async with own_worker(own, count, config_file=args.config, sets=args.config_sets):
                    if stopped.is_set():
                        break
                    results.append(await _one(own, workload, args))
                if results[-1].interrupted:
                    stopped.set()
                if stopped.is_set() or results[-1].accounting.unknown:
                    break
        finally:
            await _forget(own, results)
    return results


async def _one(own: Config, workload: Workload, args: argparse.Namespace) -> Result:
    return await conduct(
        Experiment(own, workload, kind="sweep"),
        workload,
        own.queue.key,
        quiet=True,
        wait_on_interrupt=args.on_interrupt == "wait",
    )


async def _forget(own: Config, results: list[Result]) -> None:
    try:
        await forget_queue(own, (result.run_id for result in results))
    except TaskrigError as error:  # must not cost the report
        remark(f"the keys of {own.queue.key!r} stay: {error}")
