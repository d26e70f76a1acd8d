"""Offer a load at a rate of its own, whatever the queue does, and report."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from loadgen.barrier import parse_barrier
from loadgen.cli import options, output
from loadgen.cli.console import remark
from loadgen.cli.live import conduct, run_loop
from loadgen.expectations import Expectation
from loadgen.experiment import Experiment
from loadgen.exporter import RunCollector, serve
from loadgen.mix import parse_mix
from loadgen.pacer import Arrivals, constant, parse_arrivals, parse_profile
from loadgen.quantity import duration_s, rate_per_s, size_bytes
from loadgen.workload import Workload, sized_data
from loadgen.workload_file import read_workload
from worker.config import Config
from worker.errors import UsageError

EXAMPLE = """loadgen run --mix fast=1 --rate 5 --duration 2s --out run.json --html run.html
  loadgen run --mix fast=8,slow=1 --profile "1s@2, 1s@2..8" --arrivals poisson
  loadgen run --mix fast=1 --rate 5 --duration 2s --expect 'wait.p50 < 1s' 'lost == 0'"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen run`."""
    parser.add_argument(
        "workload", nargs="?", type=Path, metavar="FILE.yaml", help="a workload file"
    )
    options.add_mix(parser, required=False)
    parser.add_argument("--rate", metavar="RATE", help="tasks a second: 500, 2k/s, 90/m")
    parser.add_argument("--duration", metavar="TIME", help="how long to offer: 60s, 5m")
    parser.add_argument("--profile", metavar="P", help='rates over time: "30s@50, 1m@50..500"')
    parser.add_argument(
        "--arrivals", metavar="HOW", help="uniform (default), poisson, or burst:N (N at once)"
    )
    parser.add_argument(
        "--warmup", metavar="TIME", help="leave the first so long out of the figures"
    )
    parser.add_argument("--size", metavar="BYTES", help="size of each task's data, such as 1KiB")
    parser.add_argument("--shuffle", action="store_true", help="shuffle each cycle of the mix")
    parser.add_argument(
        "--metrics", metavar="PORT", help="answer Prometheus here while it runs: 9465, host:9465"
    )
    parser.add_argument(
        "--barrier", metavar="NAME:N", help="start together with N-1 other generators; see merge"
    )
    options.add_follow(parser)
    options.add_observe(parser)
    output.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """`loadgen run`"""
    config = options.read_config(args)
    expectations = output.read_expectations(args)
    options.check_observe(args)
    workload, more = make_workload(args, config)
    experiment = Experiment(
        config, workload, kind="run", observe=args.observe, scrape_urls=args.worker_metrics,
        barrier=parse_barrier(args.barrier) if args.barrier else None,
    )  # fmt: skip
    profile = workload.profile
    assert profile is not None  # make_workload refuses a run without one
    remark(
        f"offering {workload.mix.text} at {profile.text} ({workload.arrivals.text}), "
        f"about {workload.total:,.0f} tasks, to {config.queue.key!r}"
    )
    end_metrics = None
    if args.metrics:
        collector = RunCollector(lambda: experiment.stage, workload, "run")
        end_metrics = serve(args.metrics, collector)
    wait = args.on_interrupt == "wait"
    try:
        result = run_loop(conduct(experiment, workload, config.queue.key, wait_on_interrupt=wait))
    finally:
        if end_metrics is not None:
            end_metrics()
    return output.finish(result, args, [*more, *expectations])


def make_workload(args: argparse.Namespace, config: Config) -> tuple[Workload, list[Expectation]]:
    """The workload of the file, if any, with the flags over it; raises UsageError."""
    if args.workload:
        workload, expectations = read_workload(args.workload)
        if args.mix:
            workload = replace(workload, mix=parse_mix(args.mix), data=())
    else:
        if not args.mix:
            raise UsageError("run needs --mix (or a workload file); see loadgen run --help")
        drain_s = options.drain_timeout_s(args)
        workload = Workload(mix=parse_mix(args.mix), drain_timeout_s=drain_s)
        expectations = []
    workload = _with_flags(workload, args)
    options.check_types(workload.mix, config, allow_unknown=args.allow_unknown)
    return workload, expectations


def _with_flags(workload: Workload, args: argparse.Namespace) -> Workload:
    if args.profile and (args.rate or args.duration):
        raise UsageError("give either --profile or --rate and --duration, not both")
    if args.profile:
        workload = replace(workload, profile=parse_profile(args.profile))
    elif args.rate or args.duration:
        if not (args.rate and args.duration):
            raise UsageError("--rate and --duration belong together; give both")
        rate, length_s = rate_per_s(args.rate, "--rate"), duration_s(args.duration, "--duration")
        if rate * length_s < 1:
            raise UsageError("--rate times --duration is less than one task")
        workload = replace(workload, profile=constant(rate, length_s))
    if workload.profile is None:
        raise UsageError("run needs --rate and --duration, or --profile; see loadgen run --help")
    arrivals: Arrivals = parse_arrivals(args.arrivals) if args.arrivals else workload.arrivals
    warmup_s = duration_s(args.warmup, "--warmup") if args.warmup else workload.warmup_s
    if warmup_s >= workload.profile.length_s:
        raise UsageError("--warmup leaves nothing to measure; make it shorter than the run")
    data = workload.data
    if args.size:
        data = ((sized_data(size_bytes(args.size, "--size")),),) * len(workload.mix.types)
    return replace(
        workload, arrivals=arrivals, warmup_s=warmup_s, data=data,
        seed=args.seed or workload.seed, shuffle=args.shuffle or workload.shuffle,
    )  # fmt: skip
