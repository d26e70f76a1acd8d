"""Expectations: their grammar, and what a missing figure means."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.expectations import judge_all, parse_expectation
from worker.errors import UsageError


def a_result(**series: float) -> dict[str, Any]:
    block = {name: {"count": 2000, "p50": 0.02, "p99": 0.04, "mean": 0.02, **series}
             for name in ("send_lag", "wait", "service", "e2e", "e2e_raw")}  # fmt: skip
    return {
        "series": {"all": block, "fast_task": block},
        "accounting": {"lost": 0, "duplicates": 3, "sent": 2000},
        "totals": {"makespan_s": 2.6, "ideal_s": 2.5, "offered_per_s": 500.0,
                   "achieved_per_s": 499.0, "done_per_s": 480.0},
        "clock": {"anomalies": 0},
        "expectations": [],
    }  # fmt: skip


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
    assert parse_expectation(text).judge(a_result())["ok"] is ok


def test_a_percentile_with_too_few_samples_fails_and_says_so():
    judged = parse_expectation("e2e.p99.9 < 1s").judge(a_result())
    assert judged == {
        "text": "e2e.p99.9 < 1s", "value": None, "shown": "too few samples to tell", "ok": False
    }  # fmt: skip


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
        ("e2e.p99 < soon", "no duration"),
        ("e2e.p99 < 1.2.3", "no duration"),
        ("lost.p99 == 0", "takes no label"),
        ("lost{type=fast_task} == 0", "takes no label"),
        ("lost == none", "no number"),
    ],
)
def test_a_bad_expectation_is_a_usage_error(text, why):
    with pytest.raises(UsageError, match=why):
        parse_expectation(text)


def test_a_type_that_did_not_run_is_a_usage_error_that_names_those_that_did():
    with pytest.raises(UsageError, match=r"no type 'slow_task'; it has fast_task"):
        judge_all([parse_expectation("e2e{type=slow}.p99 < 1s")], a_result())
