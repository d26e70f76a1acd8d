"""Find the highest rate at which an SLO holds, by trials and a final hold."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass, replace

from loadgen.bracket import Bracket, grew, why_not
from loadgen.cli import options, output
from loadgen.cli.console import remark
from loadgen.cli.live import conduct, run_loop
from loadgen.connection import clear_errors, connected
from loadgen.expectations import Expectation, parse_expectation
from loadgen.experiment import Experiment
from loadgen.forecast import queue_of, service_samples
from loadgen.pacer import constant, parse_arrivals
from loadgen.planner import check_slo, plan_rate
from loadgen.quantity import duration_s, rate_per_s, show_rate
from loadgen.queueview import look
from loadgen.result import Result
from loadgen.stats import MIN_BEYOND, PERCENTILES
from loadgen.workload import Workload
from worker.config import Config
from worker.errors import UsageError
from worker.keys import Keys

EXAMPLE = """loadgen search --mix fast=1 --slo 'wait.p50<1s' \\
    --trial 3s --hold 5s --precision 30%"""
WARMUP_SHARE = 0.2  # of a trial
MIN_TRIAL_S = 3.0  # less holds no whole seconds to compare what came with what was done
PROBE_S = 1.0  # least length of a flat-out drain that is believed
FIRST_SHARE = 0.75  # of the flat-out rate: the first trial
MOST_SHARE = 0.93  # of it: the first trial where --from-rate is higher
MAX_TRIALS = 20
MAX_FAILED_HOLDS = 6  # after one has passed, the best of those is the answer
MIN_RATE = 0.1  # tasks a second; below it no search goes
MAX_TRIAL_S = 300.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen search`."""
    options.add_mix(parser)
    parser.add_argument(
        "--slo", required=True, metavar="EXPR", help="what must hold, such as 'wait.p99<100ms'"
    )
    parser.add_argument("--trial", default="10s", metavar="TIME", help="of each trial (10s)")
    parser.add_argument("--hold", default="30s", metavar="TIME", help="of the last one (30s)")
    parser.add_argument("--arrivals", default="poisson", metavar="HOW", help="poisson (default)")
    parser.add_argument("--from-rate", metavar="RATE", help="first guess (default: measured)")
    parser.add_argument(
        "--precision", default="4%", metavar="PERCENT",
        help="end when holding and failing rates are this close (4%%)",
    )  # fmt: skip
    options.add_follow(parser)
    output.add_output(parser)


@dataclass(slots=True)
class Search:
    """What is searched for, and how often it was tried."""

    config: Config
    workload: Workload
    slo: Expectation
    trial_s: float
    trials: int = 0
    interrupted: bool = False


def run(args: argparse.Namespace) -> int:
    """`loadgen search`: the report is that of the hold at the rate found."""
    config = options.read_config(args)
    slo = parse_expectation(args.slo, "--slo")
    expectations = output.read_expectations(args)
    if slo.op not in ("<", "<="):
        raise UsageError(f"--slo {args.slo!r}: write an upper bound, such as 'wait.p99<100ms'")
    trial_s, hold_s = duration_s(args.trial, "--trial"), duration_s(args.hold, "--hold")
    if min(trial_s, hold_s) < MIN_TRIAL_S:
        raise UsageError(f"--trial and --hold must be at least {MIN_TRIAL_S:g}s")
    workload = Workload(
        mix=options.read_mix(args, config), arrivals=parse_arrivals(args.arrivals),
        seed=args.seed or 1, drain_timeout_s=options.drain_timeout_s(args),
    )  # fmt: skip
    search = Search(config, workload, slo, trial_s)
    close = 1 + options.percent(args.precision, "--precision")
    first = rate_per_s(args.from_rate, "--from-rate") if args.from_rate else None
    held = run_loop(_search(search, first, close, hold_s))
    if held is None:
        return 130 if search.interrupted else 99
    code = output.finish(held, args, [slo, *expectations])
    if code != 130:
        _say(search, held)
    return code


def _say(search: Search, held: Result) -> None:
    rate = held["totals"]["offered_per_s"]
    remark(f"highest rate with {search.slo.text}: {show_rate(rate)}")
    queue = queue_of(held)
    if queue is None:
        return
    try:
        check_slo(search.slo)
    except UsageError:
        return  # a per-type SLO: measured, not predicted
    overhead = held["totals"].get("slot_overhead_s") or 0.0
    services = [one + overhead for one in service_samples(held)]
    forecast = plan_rate(replace(queue, arrival_cv2=1.0), search.slo, services)
    if forecast:
        off = (rate / forecast - 1) * 100
        slots = queue.slots
        remark(f"plan predicts {show_rate(forecast)} for {slots} slots: found {off:+.1f} % of it")


async def _search(
    search: Search, first: float | None, close: float, hold_s: float
) -> Result | None:
    flat_out = await _flat_out(search)
    if search.interrupted:
        return None
    bracket = Bracket(flat_out, close)
    rate = min(first or flat_out * FIRST_SHARE, flat_out * MOST_SHARE)
    if first and rate < first:
        remark(f"--from-rate is more than they can finish: starting at {show_rate(rate)}")
    measured_again = False
    while search.trials < MAX_TRIALS:
        bracket.book(rate, await _trial(search, rate))
        if search.interrupted:
            return None
        if bracket.is_close:
            if bracket.failed <= bracket.flat_out or measured_again:
                break
            # Nothing but the flat-out rate is in the way: a pause may have spoilt that drain.
            measured_again = True
            bracket.flat_out = max(bracket.flat_out, await _flat_out(search))
            if search.interrupted:
                return None
            if bracket.is_close:
                break
        rate = bracket.next_trial()
        if rate < MIN_RATE:
            remark(f"{search.slo.text} does not hold at any rate tried")
            return None
    return await _hold(search, bracket, hold_s)


async def _flat_out(search: Search) -> float:
    """What the workers do flat out (tasks a second), measured with a short backlog."""
    config, mix = search.config, search.workload.mix.reduced()
    async with connected(config) as client:
        with clear_errors(config):
            view = await look(client, Keys.of(config.queue.key))
    if not view.concurrency:
        raise UsageError(f"no live worker on {config.queue.key!r}; start one with: worker run")
    count, rate = max(8 * view.concurrency, 50), 0.0
    for _ in range(3):  # short tasks need more of them to fill a second
        probe = replace(search.workload, mix=mix, repeat=max(1, -(-count // mix.total)))
        totals = (await _conduct(search, probe))["totals"]
        rate = totals["flat_out_per_s"] or totals["drained_per_s"] or 0.0
        if (totals["drain_s"] or 0) > PROBE_S or search.interrupted:
            break
        count = int(max(2 * count, min(10 * count, 1.5 * PROBE_S * rate)))
    if not rate and not search.interrupted:
        raise UsageError("the workers finished none of the probe's tasks; see loadgen monitor")
    remark(f"flat out the workers do {show_rate(rate)} on {view.concurrency} slots")
    return rate


async def _conduct(search: Search, workload: Workload) -> Result:
    experiment = Experiment(search.config, workload, kind="search")
    result = await conduct(experiment, workload, search.config.queue.key, quiet=True)
    search.interrupted = result["interrupted"]
    await asyncio.sleep(0.2)  # lets the workers fall idle, so that trials do not touch
    return result


async def _trial(search: Search, rate: float) -> bool:
    """Whether the SLO holds at this rate; one failure by a stray pause is tried again."""
    for _ in range(2):
        search.trials += 1
        result = await _at(search, rate, search.trial_s)
        if search.interrupted:
            return False
        judged = search.slo.judge(result)
        why = why_not(result, judged)
        said = f"does not hold: {why}" if why else "holds"
        remark(f"trial {search.trials}: {show_rate(rate)} {said} (was {judged['shown']})")
        if not why:
            return True
        if result["verdict"]["overloaded"] or grew(result):
            return False
    return False


async def _at(search: Search, rate: float, length_s: float) -> Result:
    needed = _samples(search.slo) / rate / (1 - WARMUP_SHARE)
    if needed > MAX_TRIAL_S:
        raise UsageError(
            f"at {show_rate(rate)} a trial would need {needed:.0f} s to tell {search.slo.text}; "
            "bound a lower percentile, or the mean"
        )
    length_s = max(length_s, needed)
    workload = replace(
        search.workload, profile=constant(rate, length_s), warmup_s=length_s * WARMUP_SHARE,
        seed=search.workload.seed + search.trials,
    )  # fmt: skip
    return await _conduct(search, workload)


def _samples(slo: Expectation) -> float:
    """Tasks that are needed before the SLO's percentile can be told, with a margin."""
    share = PERCENTILES.get(slo.statistic, 0.5)
    return 1.3 * MIN_BEYOND / (1 - share)


async def _hold(search: Search, bracket: Bracket, hold_s: float) -> Result | None:
    """A longer run at the rate found; where it fails, lower ones until one passes."""
    rate, proven, best, failures = bracket.holds or bracket.next_trial(), 0.0, None, 0
    while rate >= MIN_RATE and not (proven and failures >= MAX_FAILED_HOLDS):
        remark(f"hold: {show_rate(rate)} for {hold_s:g} s")
        result = await _at(search, rate, hold_s)
        if search.interrupted:
            return result
        judged = search.slo.judge(result)
        why = why_not(result, judged)
        search.trials += 1  # the next one gets another seed
        bracket.book(rate, not why)
        if why:
            remark(f"it does not hold: {why} (was {judged['shown']})")
            failures += 1
        else:
            proven, best = rate, result
            if not failures or bracket.fails / proven <= bracket.close:
                return result
        rate = bracket.next_hold(proven, failures)
    if best is None:
        remark(f"{search.slo.text} does not hold at any rate held")
    return best
