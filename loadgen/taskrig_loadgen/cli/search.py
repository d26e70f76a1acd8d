"""Find the highest rate at which an SLO holds, by trials and a final hold."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path

from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.analysis.expectations import Expectation, check_types, parse_expectation
from taskrig_loadgen.analysis.planner import check_slo, plan_rate
from taskrig_loadgen.analysis.prediction import queue_from, service_samples
from taskrig_loadgen.analysis.rate_search import (
    Bracket,
    counted,
    grew,
    highest_held,
    why_not,
    why_this,
)
from taskrig_loadgen.cli import asking, options, output
from taskrig_loadgen.cli.calibrating import Calibrator, NothingToMeasure
from taskrig_loadgen.cli.live import run_loop
from taskrig_loadgen.load.pacer import constant, parse_arrivals
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.maths.stats import MIN_BEYOND, PERCENTILES
from taskrig_loadgen.quantity import duration_s, rate_per_s, show_rate
from taskrig_loadgen.result.model import Judged, Result, Searched, Trial
from taskrig_loadgen.result.store import load
from taskrig_loadgen.result.verdict import disturbed

EXAMPLE = """loadgen search --mix fast=1 --slo 'wait.p50<1s' \\
    --trial 3s --hold 5s --precision 30%"""
WARMUP_SHARE = 0.2  # of a trial
MIN_TRIAL_S = 3.0  # less holds no whole seconds to compare what came with what was done
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
        "--slo",
        required=True,
        metavar="EXPR",
        help="condition that must hold, such as 'wait.p99<100ms'",
    )
    parser.add_argument(
        "--trial", default="10s", metavar="TIME", help="length of each trial (default 10s)"
    )
    parser.add_argument(
        "--hold", default="30s", metavar="TIME", help="length of the final trial (default 30s)"
    )
    parser.add_argument(
        "--arrivals",
        default="poisson",
        metavar="HOW",
        help="how arrivals are spaced: poisson (default), uniform, or burst:N",
    )
    parser.add_argument(
        "--from-rate",
        metavar="RATE",
        help="rate of the first trial (default: estimated by a short run)",
    )
    parser.add_argument(
        "--precision",
        default="4%",
        metavar="PERCENT",
        help="end when the highest rate that holds and the lowest that fails differ by at most "
        "this (default 4%%)",
    )
    parser.add_argument(
        "--continue",
        dest="source",
        type=Path,
        metavar="RESULT.json",
        help="saved search of the same mix and SLO to continue",
    )
    options.add_follow(parser)
    asking.add_yes(parser)
    output.add_output(parser)


@dataclass(slots=True)
class Search:
    """What is searched for, and how often it was tried."""

    calibrator: Calibrator
    slo: Expectation
    trial_s: float
    trials: int = 0
    flat_out: float = 0.0
    tried: list[Trial] = field(default_factory=list)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the latest experiment."""
        return self.calibrator.interrupted

    def book(self, rate: float, judged: Judged, why: str, *, hold: bool) -> None:
        """Keep what was tried, for the report and for a search that goes on from here."""
        self.tried.append(Trial(rate_per_s=rate, hold=hold, value=judged.value, why=why))

    def story(self) -> Searched:
        """What was tried and found so far."""
        answer = highest_held(self.tried)
        return Searched(
            slo=self.slo.text,
            flat_out_per_s=self.flat_out,
            trials=self.tried,
            answer_per_s=answer,
            why=why_this(self.tried, answer, self.flat_out),
            planned_per_s=_planned_rate(self) or None,
        )


def run(args: argparse.Namespace) -> int:
    """`loadgen search`: the report is that of the hold at the rate found, or of the last trial."""
    config = options.read_config(args)
    slo = parse_expectation(args.slo, "--slo")
    expectations = output.read_expectations(args)
    if slo.op not in ("<", "<="):
        raise UsageError(f"--slo {args.slo!r}: write an upper bound, such as 'wait.p99<100ms'")
    trial_s, hold_s = duration_s(args.trial, "--trial"), duration_s(args.hold, "--hold")
    if min(trial_s, hold_s) < MIN_TRIAL_S:
        raise UsageError(f"--trial and --hold must be at least {MIN_TRIAL_S:g}s")
    workload = Workload(
        mix=options.read_mix(args, config),
        arrivals=parse_arrivals(args.arrivals),
        seed=args.seed or 1,
        drain_timeout_s=options.drain_timeout_s(args),
    )
    check_types([slo], workload.mix.types, "--slo")
    check_types(expectations, workload.mix.types)
    first_asked = asking.ask_first(args, workload.mix.types, config.queue.key)
    calibrator = Calibrator(config, workload, "search", ask_first=first_asked)
    search = Search(calibrator, slo, trial_s)
    close = 1 + options.percent(args.precision, "--precision")
    first = rate_per_s(args.from_rate, "--from-rate") if args.from_rate else None
    if args.source:
        _go_on(search, args.source)
    held = None
    try:
        held = run_loop(_search(search, first, close, hold_s))
    except NothingToMeasure as error:
        remark(str(error))
    latest = held or search.calibrator.latest
    if latest is None:
        return 130 if search.interrupted else 99
    latest.search = search.story()
    return output.finish(latest, args, [slo, *expectations])


def _go_on(search: Search, path: Path) -> None:
    """Take over what a saved search has tried; raises UsageError unless it was for the same."""
    saved = load(path)
    before, mix = saved.search, dict(search.calibrator.workload.mix.counts)
    if before is None:
        raise UsageError(f"--continue {path}: it is not the result of a search")
    if before.slo != search.slo.text or saved.workload.mix != mix:
        raise UsageError(
            f"--continue {path}: that search was for {before.slo!r} of {saved.workload.mix}"
        )
    search.tried, search.flat_out = before.trials, before.flat_out_per_s
    search.trials = len(before.trials)
    search.calibrator.calibration = saved.calibration


def _planned_rate(search: Search) -> float:
    """What `plan` makes of the calibration (tasks a second); 0 where it cannot tell."""
    known = search.calibrator.calibration
    try:
        check_slo(search.slo)
    except UsageError:
        return 0.0  # a per-type SLO: measured, not predicted
    if known is None:
        return 0.0
    arrivals = search.calibrator.workload.arrivals.text
    queue = queue_from(known, rate=1.0, slots=known.slots, arrivals=arrivals)
    return plan_rate(queue, search.slo, service_samples(known))


async def _search(
    search: Search, first: float | None, close: float, hold_s: float
) -> Result | None:
    calibrator = search.calibrator
    if not search.flat_out:
        search.flat_out = await calibrator.flat_out()
        if not search.interrupted:
            await calibrator.calibrate(search.flat_out)
        if search.interrupted:
            return None
    flat_out = search.flat_out
    bracket = Bracket(flat_out, close)
    for before in counted(search.tried):
        bracket.book(before.rate_per_s, not before.why)
    rate = min(first or flat_out * FIRST_SHARE, flat_out * MOST_SHARE)
    if first and rate < first:
        remark(f"--from-rate is more than they can finish: starting at {show_rate(rate)}")
    if search.tried:
        rate = bracket.holds if bracket.is_close else bracket.next_trial()
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
            search.flat_out = max(bracket.flat_out, await calibrator.flat_out())
            bracket.flat_out = search.flat_out
            if search.interrupted:
                return None
            if bracket.is_close:
                break
        rate = bracket.next_trial()
        if rate < MIN_RATE:
            remark(f"{search.slo.text} does not hold at any rate tried")
            return None
    return await _hold(search, bracket, hold_s)


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
        remark(f"trial {search.trials}: {show_rate(rate)} {said} (was {judged.shown})")
        search.book(rate, judged, why, hold=False)
        if not why:
            return True
        if result.verdict.overloaded or grew(result):
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
        search.calibrator.workload,
        profile=constant(rate, length_s),
        warmup_s=length_s * WARMUP_SHARE,
        seed=search.calibrator.workload.seed + search.trials,
    )
    result = await search.calibrator.conduct(workload)
    if disturbed(result) and not search.interrupted:
        remark(f"once more: {disturbed(result)}")
        result = await search.calibrator.conduct(workload)
        if disturbed(result) and not search.interrupted:
            raise NothingToMeasure(f"nothing can be measured: {disturbed(result)}")
    return result


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
        search.book(rate, judged, why, hold=True)
        if why:
            remark(f"it does not hold: {why} (was {judged.shown})")
            failures += 1
        else:
            proven, best = rate, result
            if not failures or bracket.fails / proven <= bracket.close:
                return result
        rate = bracket.next_hold(proven, failures)
    if best is None:
        remark(f"{search.slo.text} does not hold at any rate held")
    return best
