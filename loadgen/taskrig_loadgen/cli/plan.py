"""From a measured run: how many slots and workers another rate needs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec

from taskrig.errors import UsageError
from taskrig_loadgen.analysis.expectations import parse_expectation
from taskrig_loadgen.analysis.planner import SIZES, Demand, Plan, check_slo, make_plan, plan_rate
from taskrig_loadgen.analysis.prediction import (
    calibration_of,
    predicted,
    queue_from,
    service_samples,
)
from taskrig_loadgen.cli import options, output
from taskrig_loadgen.cli.console import report_console
from taskrig_loadgen.quantity import rate_per_s
from taskrig_loadgen.report import plan as report
from taskrig_loadgen.result.store import load
from taskrig_loadgen.result.verdict import untrusted

EXAMPLE = "loadgen plan --from run.json --rate 800 --slo 'wait.p99<1s'"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen plan`."""
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        required=True,
        metavar="RESULT.json",
        help="saved result with the service times of your tasks (see loadgen run --out)",
    )
    parser.add_argument("--rate", required=True, metavar="RATE", help="tasks a second to plan for")
    parser.add_argument(
        "--slo", metavar="EXPR", help="condition that must hold, such as 'wait.p99<1s'"
    )
    parser.add_argument(
        "--per-worker",
        metavar="N,...",
        help="slots of a worker to plan with (default: those of the run, and 5, 10, 20, 50, 100)",
    )
    parser.add_argument(
        "--headroom",
        default="70%",
        metavar="PERCENT",
        help="largest share of the slots, and of a worker's core, that may be busy (default 70%%)",
    )
    parser.add_argument(
        "--html",
        type=output.file_name,
        metavar="FILE",
        help="write the plan to this file as one self-contained page",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """`loadgen plan`: needs no Redis."""
    output.check_targets(args)
    slo = parse_expectation(args.slo, "--slo") if args.slo else None
    if slo:
        check_slo(slo)
    rate = rate_per_s(args.rate, "--rate")
    result = load(args.source)
    if untrusted(result):
        raise UsageError(f"{args.source}: {untrusted(result)}; plan from another run")
    known = calibration_of(result)
    if known is None:
        raise UsageError(f"{args.source}: holds no finished task or no worker to plan from")
    # Producers are independent of each other: whatever the run's arrivals, plan for Poisson.
    queue = queue_from(known, rate=rate, slots=known.slots, arrivals="poisson")
    demand = Demand(
        queue=queue,
        slo=slo,
        services_s=service_samples(known),
        headroom=options.percent(args.headroom, "--headroom"),
        cpu_s=known.cpu_s,
        memory_bytes=known.memory_bytes,
    )
    seen = max(1, round(known.slots / (known.workers or 1)))
    sizes = options.counts(args.per_worker, "--per-worker") if args.per_worker else {*SIZES, seen}
    plan = make_plan(demand, sorted(sizes), known)
    plan.trust = predicted(result)
    if slo:
        plan.rate_on_measured_slots_per_s = plan_rate(queue, slo, demand.services_s)
    pages = [("html", args.html, lambda: report.page(plan, demand))] if args.html else []
    output.leave(pages, lambda: _show(plan, as_json=args.json))
    return 0


def _show(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(msgspec.to_builtins(plan), indent=1))
        return
    for part in report.render(plan):
        report_console().print(part)
