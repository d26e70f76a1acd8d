"""Offer a load at a rate of its own, whatever the queue does, and report."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from taskrig.config.sections import Config
from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.analysis.expectations import Expectation, check_types
from taskrig_loadgen.cli import asking, options, output
from taskrig_loadgen.cli.calibrating import Calibrator
from taskrig_loadgen.cli.live import conduct, conduct_all, run_loop
from taskrig_loadgen.cli.workload_file import read_workload
from taskrig_loadgen.load import meant
from taskrig_loadgen.load.mix import parse_mix
from taskrig_loadgen.load.pacer import (
    Arrivals,
    Profile,
    apportioned,
    constant,
    parse_arrivals,
    parse_profile,
)
from taskrig_loadgen.load.workload import Workload, sized_data
from taskrig_loadgen.quantity import duration_s, rate_per_s, size_bytes
from taskrig_loadgen.report.exporter import RunCollector, serve
from taskrig_loadgen.result.merging import merge
from taskrig_loadgen.result.model import Result
from taskrig_loadgen.run.barrier import parse_barrier
from taskrig_loadgen.run.experiment import Experiment
from taskrig_loadgen.run.own_workers import with_key

EXAMPLE = """loadgen run --mix fast=1 --rate 5 --duration 2s --out run.json --html run.html
  loadgen run --mix fast=8,slow=1 --profile "1s@2, 1s@2..8" --arrivals poisson
  loadgen run --mix fast=1 --rate 5 --duration 2s --expect 'wait.mean < 1s' 'failed < 1%'"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen run`."""
    parser.add_argument(
        "workload",
        nargs="?",
        type=Path,
        metavar="FILE.yaml",
        help="workload file to run; flags override what it says",
    )
    options.add_mix(parser, required=False)
    parser.set_defaults(seed=None)  # that of the workload file, if any
    parser.add_argument(
        "--rate", metavar="RATE", help="tasks to send a second, such as 500, 2k/s or 90/m"
    )
    parser.add_argument(
        "--duration", metavar="TIME", help="how long to send tasks, such as 60s or 5m"
    )
    parser.add_argument(
        "--profile", metavar="P", help='rates over time, such as "30s@50, 1m@50..500"'
    )
    parser.add_argument(
        "--arrivals",
        metavar="HOW",
        help="how arrivals are spaced: uniform (default), poisson, or burst:N (N at once)",
    )
    parser.add_argument(
        "--warmup",
        metavar="TIME",
        help="leave the tasks of this first part of the run out of the figures",
    )
    parser.add_argument(
        "--size", metavar="BYTES", help="size of the data of each task, such as 1KiB"
    )
    parser.add_argument(
        "--shuffle",
        action="store_true",
        help="send the types in a random order instead of a fixed one",
    )
    parser.add_argument(
        "--metrics",
        metavar="PORT",
        help="serve /metrics during the run on this port, such as 9465 or host:9465",
    )
    parser.add_argument(
        "--queues",
        metavar="KEY=N,...",
        help="queues, or lists of one queue (queue.lists), each with its share of the rate",
    )
    parser.add_argument(
        "--barrier",
        metavar="NAME:N",
        help="start at the same time as N-1 other generators (see loadgen merge)",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="first run other tasks of the mix for 10 to 30 s to measure service times. The report "
        "then shows the prediction made from them beside the measured figures",
    )
    options.add_follow(parser)
    options.add_observe(parser)
    asking.add_yes(parser)
    output.add_output(parser)


def run(args: argparse.Namespace) -> int:
    """`loadgen run`"""
    config = options.read_config(args)
    expectations = output.read_expectations(args)
    options.check_observe(args)
    workload, more = make_workload(args, config)
    check_types(expectations, workload.mix.types)
    check_types(more, workload.mix.types, f"{args.workload}: expect")
    barrier = parse_barrier(args.barrier) if args.barrier else None
    shares = parse_queues(args.queues) if args.queues else {config.queue.key: 1.0}
    if len(shares) > 1 and args.metrics:
        raise UsageError("--metrics follows one queue; leave out --queues or --metrics")
    if args.calibrate and (len(shares) > 1 or barrier or args.observe != "probe"):
        raise UsageError("--calibrate needs one queue, --observe probe and no --barrier")
    parts = _parts(config, workload, shares)
    calibration = None
    if args.calibrate:
        first = asking.ask_first(args, workload.mix.types, parts[0][0].queue.key)
        calibrator = Calibrator(*parts[0], "calibration", ask_first=first)
        calibration = run_loop(calibrator.calibrated())
        if calibrator.interrupted and calibrator.latest is not None:
            return output.finish(calibrator.latest, args, [])
    experiments = [
        Experiment(
            *part,
            kind="run",
            observe=args.observe,
            scrape_urls=args.worker_metrics,
            barrier=barrier,
            calibration=calibration,
            ask_first=None  # asked already
            if args.calibrate
            else asking.ask_first(args, workload.mix.types, part[0].queue.key),
        )
        for part in parts
    ]
    remark(
        f"offering {workload.mix.text} at {_profile(workload).text} ({workload.arrivals.text}), "
        f"about {workload.total:,.0f} tasks, to {', '.join(map(repr, shares))}"
    )
    result = _conduct(experiments, workload, args)
    return output.finish(result, args, [*more, *expectations])


def _profile(workload: Workload) -> Profile:
    assert workload.profile is not None  # make_workload refuses a run without one
    return workload.profile


def _parts(
    config: Config, workload: Workload, shares: Mapping[str, float]
) -> list[tuple[Config, Workload]]:
    """The config and the workload of each queue: together they send what was asked, exactly.

    Raises:
        UsageError: the share of a queue is less than one task.
    """
    profile, lists = _profile(workload), config.queue.lists and config.queue.sources
    whole = round(profile.total)
    counts: Iterable[float] = apportioned(whole, list(shares.values()))
    if workload.arrivals.kind == "poisson":  # it sends as many on average only
        counts = [whole * share for share in shares.values()]
    parts = []
    for number, (key, count) in enumerate(zip(shares, counts, strict=True)):
        if count < 1 and len(shares) > 1:
            raise UsageError(f"--queues: the share of {key!r} is less than one of {whole:,} tasks")
        part = replace(
            workload,
            profile=profile.scaled(count / profile.total) if len(shares) > 1 else profile,
            seed=workload.seed + number,
            list=key if key in lists else "",
        )
        # Lists of one queue have one config, which follows them all.
        parts.append((config if key in lists else with_key(config, key), part))
    return parts


def _conduct(
    experiments: Sequence[Experiment], workload: Workload, args: argparse.Namespace
) -> Result:
    wait = args.on_interrupt == "wait"
    if len(experiments) > 1:
        return merge(run_loop(conduct_all(experiments, wait_on_interrupt=wait)))
    (one,) = experiments
    end_metrics = None
    if args.metrics:
        end_metrics = serve(args.metrics, RunCollector(lambda: one.stage, workload, "run"))
    try:
        return run_loop(conduct(one, workload, one.queue, wait_on_interrupt=wait))
    finally:
        if end_metrics is not None:
            end_metrics()


def parse_queues(text: str) -> dict[str, float]:
    """Read `KEY=N,...`: each queue's share of the rate.

    Raises:
        UsageError: a part is no key with a whole number above 0, or a key is given twice.
    """
    weights: dict[str, int] = {}
    for part in text.split(","):
        key, equals, weight = part.strip().rpartition("=")
        several = len(meant.pairs(part)) > 1
        if several or not equals or not key or not weight.isascii() or not weight.isdigit():
            raise UsageError(f"--queues {text!r}: write it like async_tasks=3,other_tasks=1")
        if key in weights or not int(weight):
            raise UsageError(f"--queues {text!r}: {key!r} is given twice, or its share is 0")
        weights[key] = int(weight)
    whole = sum(weights.values())
    return {key: weight / whole for key, weight in weights.items()}


def make_workload(args: argparse.Namespace, config: Config) -> tuple[Workload, list[Expectation]]:
    """The workload of the file, if any, with the flags over it; raises UsageError."""
    if args.mix and meant.pairs(str(args.workload or "")):
        raise UsageError("write the mix without spaces, like --mix fast=3,slow=2")
    if args.workload:
        workload, expectations = read_workload(args.workload)
        if args.mix:
            workload = replace(workload, mix=parse_mix(args.mix), data=())
    else:
        if not args.mix:
            raise UsageError("run needs --mix (or a workload file); see loadgen run --help")
        workload = Workload(mix=parse_mix(args.mix))
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
        workload,
        arrivals=arrivals,
        warmup_s=warmup_s,
        data=data,
        seed=workload.seed if args.seed is None else args.seed,
        shuffle=args.shuffle or workload.shuffle,
        drain_timeout_s=options.drain_timeout_s(args, workload.drain_timeout_s),
    )
