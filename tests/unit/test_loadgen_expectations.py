"""Expectations: their grammar, and what a missing figure means."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from taskrig.errors import UsageError
from taskrig_loadgen.analysis.expectations import judge_all, parse_expectation
from taskrig_loadgen.result.model import SERIES, Result, TypeSeries
from tests.support.results import a_result


def judged_run() -> Result:
    """A run whose every series has a median of 20 ms and a p99 of 40 ms."""
    result = a_result("fast=3", rate=500)
    figures = replace(result.overall.wait, count=2000, p50=0.02, p99=0.04, p99_9=None)
    series = TypeSeries(**dict.fromkeys(SERIES, figures))
    result.series = {"all": series, "fast_task": series}
    result.accounting.duplicates = 3
    result.totals = replace(
        result.totals, makespan_s=2.6, ideal_s=2.5, achieved_per_s=499.0, done_per_s=480.0
    )
    return result


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("e2e.p99 < 50ms", True),
        ("e2e{type=fast_task}.p99<50ms", True),
        ("e2e{type=fast}.p99<50ms", True),
        ('e2e{type="fast_task"}.p99 < 0.03s', False),
        ("wait.p50 >= 20ms", True),
        ("lost == 0", True),
        ("duplicates == 0", False),
        ("duplicates != 0", True),
        ("makespan < 2.6s", False),
        ("makespan <= 2600ms", True),
        ("throughput > 470/s", True),
        ("throughput > 0.47k", True),
        ("efficiency > 95%", True),
        ("achieved > 499/s", False),
        ("clock_anomalies == 0", True),
    ],
)
def test_an_expectation_is_judged(text, ok):
    assert parse_expectation(text).judge(judged_run()).ok is ok


@pytest.mark.parametrize(
    ("text", "ok", "shown"),
    [
        ("failed < 1%", False, "12.5 %"),
        ("failed.share < 0.2", True, "12.5 %"),
        ("failed < 12.6%", True, "12.5 %"),
        ("succeeded > 99%", False, "95 %"),
        ("lost < 6%", True, "5 %"),
        ("sent >= 97%", False, "96 %"),
        ("refused < 2%", True, "1.5 %"),
        ("duplicates <= 0.7%", False, "0.7812 %"),
        ("achieved >= 99%", True, "99.8 %"),
        ("throughput > 97%", False, "96 %"),
        ("efficiency > 96%", True, "0.961538"),
        ("failed < 1", False, "10"),
    ],
)
def test_a_percentage_is_a_share_of_what_was_offered_or_sent(text, ok, shown):
    """400 tasks: 384 sent, 6 refused, 10 never arrived; 10 failed, 4 dead, 20 lost.

    As a share `failed` is of every task that did not succeed: 50.
    """
    result = judged_run()
    books = result.accounting
    books.sent, books.succeeded, books.refused, books.never_arrived = 384, 380, 6, 10
    books.failed, books.dead, books.lost = 10, 4, 20
    result.totals.offered_per_s = 500.0
    judged = parse_expectation(text).judge(result)
    assert (judged.shown, judged.ok) == (shown, ok)


def test_what_cannot_be_looked_for_may_have_failed():
    result = judged_run()
    result.accounting.unknown = 1
    for text in ("failed < 100%", "succeeded > 0%", "lost == 0"):
        assert not parse_expectation(text).judge(result).ok


def test_a_percentile_with_too_few_samples_fails_and_says_so():
    judged = parse_expectation("e2e.p99.9 < 1s").judge(judged_run())
    assert (judged.text, judged.value, judged.ok) == ("e2e.p99.9 < 1s", None, False)
    assert judged.shown == "too few samples to tell"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no expectation"),
        ("e2e.p99", "no expectation"),
        ("e2e.p99 << 5ms", "is no"),
        ("e2ee.p99 < 5ms", "no figure is called 'e2ee'"),
        ("e2e.p98 < 5ms", "needs one of"),
        ("e2e < 5ms", "needs one of"),
        ("e2e{kind=x}.p99 < 5ms", "the only label is type"),
        ("e2e.p99 < 5", "needs a unit"),
        ("e2e.p99 < soon", "not a duration"),
        ("e2e.p99 < 1.2.3", "not a duration"),
        ("lost.p99 == 0", "takes no label"),
        ("lost{type=fast_task} == 0", "takes no label"),
        ("lost == none", "not a number"),
        ("clock_anomalies < 1%", "has no share"),
        ("offered > 99%", "has no share"),
        ("e2e.p99 < 5%", "not a duration"),
        ("makespan < 5%", "not a duration"),
        ("lost.share < 1%", "takes no label"),
    ],
)
def test_a_bad_expectation_is_a_usage_error(text, why):
    with pytest.raises(UsageError, match=why):
        parse_expectation(text)


def test_a_type_that_did_not_run_is_a_usage_error_that_names_those_that_did():
    with pytest.raises(UsageError, match=r"no type 'slow_task'; it has fast_task"):
        judge_all([parse_expectation("e2e{type=slow}.p99 < 1s")], judged_run())
