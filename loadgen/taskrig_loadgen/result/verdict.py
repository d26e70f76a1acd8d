"""What a run is worth: what may be believed about it, and the exit code. Pure."""

from __future__ import annotations

from taskrig_loadgen.result.model import Result, Verdict

SATURATED_BELOW = 0.99  # of the offered rate
SATURATED_LAG_SHARE = 0.1  # send_lag p99 over this share of the e2e median
# ... and over this: a tenth of a short task's e2e is less than the sender's own tick of 1 ms, and
# than the few milliseconds by which any shared machine wakes a process late now and then.
SATURATED_LAG_S = 0.005
GROWING_SHARE = 0.1  # the last quarter's backlog over the second quarter's, by this share of sent


def unjudged() -> Verdict:
    """In the place of the verdict, until there is a result to judge."""
    return Verdict(complete=False, saturated=False, overloaded=False, no_worker=False, reasons=[])


def judge_run(result: Result) -> Verdict:
    """What may and may not be believed about the run, with the reason in words."""
    books, reasons = result.accounting, []
    if books.unknown:
        reasons.append(
            f"{books.unknown:,} tasks could not be looked for at the end: {result.unsearched}"
        )
    saturated, growing = _saturation(result), _overload(result)
    reasons += [reason for reason in (saturated, growing) if reason]
    return Verdict(
        complete=not (books.left or books.lost or books.unknown),
        saturated=bool(saturated),
        overloaded=bool(growing),
        no_worker=not result.totals.workers,
        reasons=reasons,
    )


def _saturation(result: Result) -> str:
    if result.workload.profile is None:
        return ""
    offered, achieved = result.totals.offered_per_s, result.totals.achieved_per_s
    unsent = result.accounting.unsent
    if unsent:
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
    rows = [row for row in result.timeline if row.offered > 0 and row.waiting is not None]
    if result.workload.profile is None or len(rows) < 8:
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


def exit_code(result: Result) -> int:
    """0 good, 1 tasks lost, left or refused, 4 saturated, 99 expectation failed, 130 Ctrl-C.

    5 where Redis was out of reach at the end, so that tasks could not be looked for.
    """
    books = result.accounting
    if result.interrupted:
        return 130
    if books.unknown:
        return 5
    if any(not judged.ok for judged in result.expectations):
        return 99
    if result.verdict.saturated:
        return 4
    if books.refused or books.never_arrived or books.unsent:
        return 1
    if result.followed and not result.verdict.complete:
        return 1
    return 0
