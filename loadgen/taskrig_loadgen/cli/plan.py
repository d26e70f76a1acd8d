"""From a measured run: how many slots and workers another rate needs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from taskrig.errors import UsageError
from taskrig_loadgen.analysis.expectations import parse_expectation
from taskrig_loadgen.analysis.planner import Plan, check_slo, plan_rate, plan_slots
from taskrig_loadgen.analysis.prediction import (
    NO_PREDICTION,
    Prediction,
    calibration_of,
    predicted,
    queue_from,
    service_samples,
)
from taskrig_loadgen.cli import options
from taskrig_loadgen.cli.console import report_console
from taskrig_loadgen.quantity import rate_per_s, show_rate, show_s
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
        help="a result with the service times of your tasks (loadgen run --out)",
    )
    parser.add_argument("--rate", required=True, metavar="RATE", help="tasks a second to plan for")
    parser.add_argument("--slo", metavar="EXPR", help="what must hold, such as 'wait.p99<1s'")
    parser.add_argument(
        "--per-worker", metavar="N", help="slots of one worker (default: as in the run)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """`loadgen plan`: needs no Redis."""
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
    services = service_samples(known)
    seen = max(1, round(known.slots / (known.workers or 1)))
    per_worker = options.whole(args.per_worker, "--per-worker") if args.per_worker else seen
    plan = plan_slots(queue, slo, services).plan(per_worker, slo, predicted(result))
    if slo:
        plan.rate_on_measured_slots_per_s = plan_rate(queue, slo, services)
        plan.measured_slots = known.slots
    if args.json:
        print(json.dumps(msgspec.to_builtins(plan), indent=1))
        return 0
    for part in _render(plan):
        report_console().print(part)
    return 0


def _render(plan: Plan) -> Iterator[RenderableType]:
    yield Text(
        f"{show_rate(plan.rate_per_s)} with {plan.slo or '90 % utilization'}: {plan.slots} slots = "
        f"{plan.workers} worker{'s' * (plan.workers != 1)} of {plan.per_worker}",
        style="bold",
    )
    table = Table.grid(padding=(0, 2))
    rows = [
        ("service time", f"{show_s(plan.service_s)} (cv² {plan.service_cv2:.2f})"),
        ("slots busy", f"{plan.utilization * 100:.0f} %"),
        ("mean wait", f"{show_s(plan.mean_wait_s)} (pick-up {show_s(plan.pickup_s)})"),
        (
            "wait p99",
            f"{show_s(plan.wait_p99_s)} by formula, simulated with {plan.slots} "
            f"slots {show_s(plan.simulated_wait_p99_s)}",
        ),
        ("e2e p99", f"{show_s(plan.e2e_p99_s)} simulated"),
        ("at most", f"{show_rate(plan.max_rate_per_s)} before the backlog grows for ever"),
        ("KEDA target", f"{plan.keda_target} waiting + in flight per worker"),
    ]
    if plan.rate_on_measured_slots_per_s is not None:
        most = show_rate(plan.rate_on_measured_slots_per_s)
        rows.append(("the run's slots", f"{plan.measured_slots} would keep it up to {most}"))
    for row in rows:
        table.add_row(*row)
    yield table
    yield from _trust(plan.trust)


def _trust(trust: Prediction | None) -> Iterator[RenderableType]:
    if trust is None:
        yield Text(f"nothing was foretold of that run: {NO_PREDICTION}", style="dim")
        return
    for row in trust.rows:
        told, seen = row.predicted_s, row.measured_s
        if told is not None and seen is not None:
            text = f"in that run, {row.figure}: {show_s(told)} predicted from {trust.made_from}"
            yield Text(f"{text}, {show_s(seen)} measured", style="dim")
