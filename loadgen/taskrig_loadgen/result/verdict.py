"""Whether a run is good: what may be believed about it, why not, and the exit code. Pure.

`checks` is the one place that says so. The terminal, HTML, Markdown, JUnit, JSON and CSV repeat
it, and `exit_code` is the code of the first check with a problem.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import UNSET, Struct

from taskrig_loadgen.load.mix import ALL
from taskrig_loadgen.quantity import show_s
from taskrig_loadgen.result.model import Result, Verdict

# The kinds of tasks that did not succeed.
BAD = ("failed", "dead", "lost", "never_arrived", "refused")
FAILED_SHARE = 0.01  # of the tasks offered: above it a run tells nothing good of a release
EXPECTATIONS = "every expectation is met"
EXPECTATION_FAILED = 99
STEP_S = 0.01  # the clocks moved apart by more than this, and ...
DRIFT = 0.0005  # ... by more than this share of the run's length: somebody set one
SATURATED_BELOW = 0.99  # of the offered rate
SATURATED_LAG_SHARE = 0.1  # send_lag p99 over this share of the e2e median
# ... and over this: a tenth of a short task's e2e is less than the sender's own tick of 1 ms, and
# than the few milliseconds by which any shared machine wakes a process late now and then.
SATURATED_LAG_S = 0.005
GROWING_SHARE = 0.1  # the last quarter's backlog over the second quarter's, by this share of sent


class Check(Struct, kw_only=True):
    """One thing that a good run is; its problems in words, and the exit code that they make."""

    name: str
    code: int  # 0: worth knowing, and a good run all the same
    problems: list[str]


def checks(result: Result) -> list[Check]:
    """All checks of a run, in the order in which their exit codes count."""
    return [
        Check(name=name, code=code, problems=[text for text in problems if text])
        for name, code, problems in (
            ("the run was not interrupted", 130, [_interrupted(result)]),
            ("Redis answered throughout", 5, [_unknown(result), *_away(result)]),
            ("the search found a rate", EXPECTATION_FAILED, [_unanswered(result)]),
            (EXPECTATIONS, EXPECTATION_FAILED, [_unexpected(result)]),
            ("one clock", 4, [_clock(result), _out_of_order(result)]),
            ("the parts add up", 1, _sums(result)),
            ("the load was sent as asked for", 4, [_saturation(result)]),
            ("Redis took every push", 1, _pushes(result)),
            ("every task is accounted for", 1, _left(result)),
            ("the tasks succeed", 1, [_failing(result)]),
            ("the queue kept up", 0, [_overload(result)]),
            ("worth knowing", 0, _notes(result)),
        )
    ]


def exit_code(result: Result) -> int:
    """0 for a good run, else that of the first check with a problem."""
    return next((check.code for check in checks(result) if check.code and check.problems), 0)


def unjudged() -> Verdict:
    """In the place of the verdict, until there is a result to judge."""
    return Verdict(complete=False, saturated=False, overloaded=False, no_worker=False, reasons=[])


def judge_run(result: Result) -> Verdict:
    """The verdict that is kept with a result; to be judged again after its expectations."""
    books, found = result.accounting, checks(result)
    return Verdict(
        complete=not (books.left or books.lost or books.unknown or books.gone),
        saturated=bool(_saturation(result)),
        overloaded=bool(_overload(result)),
        no_worker=not result.totals.workers,
        reasons=[text for check in found[:-1] for text in check.problems],
        notes=found[-1].problems,
        exit_code=exit_code(result),
    )


def disturbed(result: Result) -> str:
    """What from outside has spoilt a run for any conclusion; empty when nothing has."""
    return next((text for text in (*_away(result), _clock(result)) if text), "")


def not_comparable(result: Result) -> str:
    """Why a run may stand beside no other: it is spoilt, cut short, or its outcomes not known."""
    return disturbed(result) or _interrupted(result) or result.cannot_tell("bad")


def untrusted(result: Result) -> str:
    """Why a run says nothing of what workers can do; empty when it does.

    No expectation overrides this: a rate at which tasks fail is not a capacity.
    """
    return disturbed(result) or result.cannot_tell("bad") or _failed(result, FAILED_SHARE, BAD)


def _interrupted(result: Result) -> str:
    return "interrupted: the figures cover what was sent until then" if result.interrupted else ""


def _unknown(result: Result) -> str:
    count = result.accounting.unknown
    if not count:
        return ""
    return f"{count:,} tasks could not be looked for at the end: {result.unsearched}"


def _away(result: Result) -> list[str]:
    return [one.text for one in result.away]


def _unanswered(result: Result) -> str:
    unanswered = result.search is not None and result.search.answer_per_s is None
    return f"no answer: {result.search.why}" if result.search and unanswered else ""


def _unexpected(result: Result) -> str:
    failed = sum(not one.ok for one in result.expectations)
    return f"{failed} of {len(result.expectations)} expectations failed" if failed else ""


def _clock(result: Result) -> str:
    drift_s, length_s = result.clock.drift_s or 0.0, float(len(result.timeline))
    # Each of the two measurements may be wrong by its error: half a round trip.
    if abs(drift_s) <= STEP_S + DRIFT * length_s + 2 * result.clock.offset_error_s:
        return ""
    return (
        f"the server's clock moved by {show_s(drift_s)} in the run: times before and after that "
        "do not belong together"
    )


def _out_of_order(result: Result) -> str:
    """Tasks that were settled before they had ended: the whole is less than its parts."""
    for series in (result.overall, (result.failed_series or {}).get(ALL)):
        if series is None or series.e2e.mean is None:
            continue
        parts_s = (series.wait.mean or 0.0) + (series.service.mean or 0.0)
        if series.e2e.mean < parts_s - STEP_S - 2 * result.clock.offset_error_s:
            return (
                f"end to end took {show_s(series.e2e.mean)} on average, less than wait and "
                f"service together ({show_s(parts_s)}): the clocks of workers and Redis disagree"
            )
    return ""


def _sums(result: Result) -> list[str]:
    books, out = result.accounting, result.left_out.counts if result.left_out else {}
    found = sum(books.parts.values())
    more = f"{found:,} tasks are accounted for, of {books.sent:,} that were sent"
    return [
        more if found > books.sent else "",
        *(
            f"{count:,} {name.replace('_', ' ')} in the warm-up, of {getattr(books, name):,} in all"
            for name, count in out.items()
            if count > getattr(books, name)
        ),
    ]


def _pushes(result: Result) -> list[str]:
    books = result.accounting
    unsent = 0 if _saturation(result) else books.unsent
    return [
        f"{count:,} {text}" if count else ""
        for count, text in (
            (books.refused, "tasks were refused by Redis"),
            (books.never_arrived, "pushes had no answer and never arrived"),
            (unsent, "tasks were due and never sent"),
        )
    ]


def _left(result: Result) -> list[str]:
    books = result.accounting
    if not result.followed:
        return []
    lost = f"{books.lost:,} tasks were lost" if books.lost else ""
    left = f"not finished: {books.left:,} of this run's tasks are left in the queue"
    return [lost, left if books.left else ""]


def _failing(result: Result) -> str:
    """Too many tasks did not succeed, of the kinds that no expectation of the run bounds."""
    own = {kind for one in result.expectations for kind in _bounded(one.text)}
    return _failed(result, FAILED_SHARE, [kind for kind in BAD if kind not in own])


def _bounded(expectation: str) -> Sequence[str]:
    """The kinds of tasks that did not succeed of which an expectation allows only so many.

    As a share, `failed` is of every kind, and so is what a lower bound of `succeeded` leaves.
    """
    match = _OF_OUTCOMES.match(expectation)
    if not match:
        return ()
    name, share, op, percent = match.groups()
    if name == "succeeded":
        return BAD if op in (">", ">=", "==") else ()
    if op not in ("<", "<=", "=="):
        return ()
    return BAD if name == "failed" and (share or percent) else (name,)


_OF_OUTCOMES = re.compile(
    rf"(succeeded|{'|'.join(BAD)})(?: ?\. ?(share))? ?(<=|>=|==|!=|<|>)[^%]*(%)?"
)


def _failed(result: Result, above: float, kinds: Sequence[str]) -> str:
    """How many tasks did not succeed, of these kinds; empty where the share is not above that."""
    counts = {kind: result.measured(kind) or 0 for kind in kinds}
    offered, bad = result.measured("offered"), sum(counts.values())
    if not offered or bad <= above * offered:
        return ""
    parts = ", ".join(
        f"{count:,} {kind.replace('_', ' ')}" for kind, count in counts.items() if count
    )
    return f"{bad / offered * 100:.3g} % of the tasks did not succeed ({parts})"


def _notes(result: Result) -> list[str]:
    books = result.accounting
    notes = [
        result.left_out.text if result.left_out else "",
        _failed(result, 0.0, BAD) if not _failing(result) else "",
        f"{books.duplicates:,} tasks ran more than once" if books.duplicates else "",
    ]
    if not result.totals.workers and result.followed:
        notes.append("no live worker on this queue; start one with: worker run")
    if result.clock.anomalies:
        notes.append(f"{result.clock.anomalies:,} values at or below 0 (two clocks disagree); kept")
    if result.outside is not UNSET:
        notes.append(f"cannot be known {result.outside.cannot}")
    errors = result.send_errors.items()
    return notes + [f"push error, {count} times: {text}" for text, count in errors]


def _saturation(result: Result) -> str:
    if result.workload.profile is None or result.away:
        return ""  # an outage is no fault of the generator's
    offered, achieved = result.totals.offered_per_s, result.totals.achieved_per_s
    unsent = result.accounting.unsent
    if unsent and not result.interrupted:
        return f"saturated: {unsent:,} tasks were due and never sent: not the load you asked for"
    if offered and achieved and achieved < SATURATED_BELOW * offered:
        return f"saturated: sent {achieved:,.0f}/s of {offered:,.0f}/s asked for"
    lag, median = result.overall.send_lag.p99, result.overall.e2e.p50
    if lag and median and lag > max(SATURATED_LAG_SHARE * median, SATURATED_LAG_S):
        return (
            f"saturated: send_lag p99 {lag * 1e3:.1f} ms is over a tenth of the e2e median "
            f"{median * 1e3:.1f} ms: the generator or Redis was late, not only the worker"
        )
    return ""


def _overload(result: Result) -> str:
    """A backlog that grows through the whole sending time, not only at its start."""
    warm = result.left_out.seconds if result.left_out else 0
    rows = [row for row in result.timeline if row.offered > 0 and row.waiting is not None]
    rows = [row for row in rows if row.second >= warm]
    if result.workload.profile is None or len(rows) < 8 or result.away:
        return ""
    quarter = len(rows) // 4
    waiting = [row.waiting or 0 for row in rows]
    early = sum(waiting[quarter : 2 * quarter]) / quarter
    late = sum(waiting[-quarter:]) / quarter
    between = sum(row.sent for row in rows[2 * quarter : -quarter or None])
    if late > early + 10 and late - early > GROWING_SHARE * between:
        return (
            f"overloaded: the queue grew through the run ({early:,.0f} to {late:,.0f} waiting): "
            "its percentiles depend on how long it runs"
        )
    return ""
