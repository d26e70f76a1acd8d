"""Closing in on the highest rate that holds, from trials that pass and fail. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from taskrig_loadgen.quantity import show_rate
from taskrig_loadgen.result.model import Judged, Result, Trial
from taskrig_loadgen.result.verdict import untrusted

GREW_SIGMAS = 2.0  # of a Poisson count: what a queue that does not grow stays within
STEP_UP = 1.5  # the most that one trial goes above the last that passed
FIRST_STEP_DOWN = 0.05  # of the rate, after the first hold that failed
MOST_STEP_DOWN = 0.5
SENT_SHARE = 0.97  # of the offered rate: with less the generator was the limit, not the workers


@dataclass(slots=True)
class Bracket:
    """The rates that passed and the lowest that did not (tasks a second).

    The rate that the workers do flat out counts as failed from the start: whatever comes faster
    than they can finish makes the queue grow, and a trial can only be too short to show it.
    """

    flat_out: float
    close: float  # lowest failed over highest passed rate, at which the search ends
    passed: list[float] = field(default_factory=list)
    failed: float = math.inf  # lowest rate that a trial or a hold saw fail

    @property
    def holds(self) -> float:
        """Highest rate that passed, below every one that failed; 0 when none did."""
        return max((rate for rate in self.passed if rate < self.fails), default=0.0)

    @property
    def fails(self) -> float:
        """Lowest rate known not to hold."""
        return min(self.failed, self.flat_out)

    @property
    def is_close(self) -> bool:
        """Whether what holds and what does not are as close as was asked for."""
        return self.holds > 0 and self.fails / self.holds <= self.close

    def book(self, rate: float, ok: bool) -> None:
        """Note a trial; one that failed speaks against every pass at or above its rate."""
        if ok:
            self.passed.append(rate)
        else:
            self.failed = min(self.failed, rate)

    def next_trial(self) -> float:
        """The rate to try next."""
        if not self.holds:
            return self.fails / 2
        return min(self.holds * STEP_UP, (self.holds + self.fails) / 2)

    def next_hold(self, proven: float, failures: int) -> float:
        """The rate to hold next, after one that failed or did not settle it.

        Holds that fail disprove the trials, so their passes are no guide: each failure steps
        down twice as far as the one before, and once a hold has passed, the rest is halved.

        Args:
            proven: the highest rate that a hold has passed; 0 when none has.
            failures: holds that failed so far.
        """
        if proven:
            return (proven + self.fails) / 2
        step: float = min(FIRST_STEP_DOWN * 2.0 ** max(failures - 1, 0), MOST_STEP_DOWN)
        return self.fails * (1 - step)


def counted(trials: Sequence[Trial]) -> list[Trial]:
    """Those that count: of a trial that was repeated at once, after a stray pause, the second."""
    return [
        one
        for one, after in zip_longest(trials, trials[1:])
        if not (after and one.why and _is_repeated(one, after))
    ]


def _is_repeated(one: Trial, after: Trial) -> bool:
    return one.rate_per_s == after.rate_per_s and not (one.hold or after.hold)


def highest_held(trials: Sequence[Trial]) -> float | None:
    """The highest rate that a hold has passed and no trial or hold has disproved; None: none.

    A rate that fails speaks against every pass at or above it, whichever came first.
    """
    counting = counted(trials)
    lowest_failed = min((one.rate_per_s for one in counting if one.why), default=math.inf)
    held = (one.rate_per_s for one in counting if one.hold and not one.why)
    return max((rate for rate in held if rate < lowest_failed), default=None)


def why_not(result: Result, judged: Judged) -> str:
    """Why a run does not show that the SLO holds; empty when it does.

    A late send alone is no reason: latencies count from the intended time, so it is in them.

    Args:
        judged: the SLO's judgement of that run.
    """
    problem = untrusted(result)
    if problem:
        return problem
    if result.verdict.overloaded or grew(result):
        return "the queue grew through the trial"
    achieved, offered = result.totals.achieved_per_s or 0.0, result.totals.offered_per_s or 0.0
    if result.accounting.unsent or achieved < SENT_SHARE * offered:
        return "the generator is the limit here, not the workers"
    return "" if judged.ok else f"not {judged.text}"


def grew(result: Result) -> bool:
    """Whether more was due than was started, from the warm-up to the end of the schedule.

    A short trial above capacity may still keep an SLO of a second: its backlog is only young.
    """
    due, started = result.totals.measured_due, result.totals.measured_started
    if due is None or started is None:
        return False
    return due - started > GREW_SIGMAS * math.sqrt(due)


def why_this(trials: Sequence[Trial], answer: float | None, flat_out: float) -> str:
    """Why a search has this answer: what holds, and what is in the way of more."""
    failed = [
        one for one in counted(trials) if one.why and (answer is None or one.rate_per_s > answer)
    ]
    lowest = min(failed, key=lambda one: one.rate_per_s, default=None)
    next_one = f"; {show_rate(lowest.rate_per_s)} does not: {lowest.why}" if lowest else ""
    if answer is None:
        return f"no rate was held{next_one}"
    said = f"{show_rate(answer)} is the highest rate at which a hold passed{next_one}"
    if lowest is None:
        said += f"; flat out the workers do {show_rate(flat_out)}"
    return f"{said}. A Poisson schedule holds more or less tasks than that on average"
