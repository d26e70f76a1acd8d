"""What a limited rate allows in its period, as the gate is told."""

from __future__ import annotations

import math

import pytest

from taskrig.authoring.options import Options, rate
from taskrig.engine.policies import Limits


def most_in_a_period(limits, period_s, late_us):
    """Starts in a window just under the period, the first late by `late_us`, the last on time."""
    return math.ceil((period_s * 1e6 + limits.slack_us + late_us) / limits.every_us - 1e-9)


@pytest.mark.parametrize("text", ["1/s", "1/d", "5/10s", "3/m", "19/s", "19/m"])
def test_where_few_may_start_there_is_never_one_too_many(text):
    count, period_s = rate(text)
    limits = Limits("kind", Options(rate_limit=text))
    assert limits.late_us > 0
    assert most_in_a_period(limits, period_s, limits.late_us) == count
    assert count * limits.every_us <= 1.05 * period_s * 1e6 + 1, "and at most 5 % fewer"


@pytest.mark.parametrize("text", ["20/s", "39/s", "100/s", "600/m", "5000/s", "1000/h"])
def test_where_many_may_start_no_period_has_over_a_twentieth_too_many(text):
    count, period_s = rate(text)
    limits = Limits("kind", Options(rate_limit=text))
    assert limits.every_us == period_s * 1e6 / count
    late_us = limits.slack_us  # handlers may add as much again
    assert count <= most_in_a_period(limits, period_s, late_us) <= 1.05 * count
