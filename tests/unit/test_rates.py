"""What a limited rate allows in its period, as the gate is told."""

from __future__ import annotations

import pytest

from worker.options import Options, rate
from worker.plan import Limits


@pytest.mark.parametrize("text", ["1/s", "1/d", "5/10s", "19/s", "19/m"])
def test_where_few_may_start_a_late_first_one_makes_no_room_for_one_too_many(text):
    count, period_s = rate(text)
    limits = Limits("kind", Options(rate_limit=text))
    late_us = min(period_s * 1e6 / 20, 100_000) - 1
    assert limits.slack_us == 0
    assert count * limits.every_us - late_us > period_s * 1e6
    assert count * limits.every_us <= 1.05 * period_s * 1e6 + 1


@pytest.mark.parametrize("text", ["20/s", "100/s", "600/m", "5000/s", "1000/h"])
def test_where_many_may_start_no_period_has_over_a_twentieth_too_many(text):
    count, period_s = rate(text)
    limits = Limits("kind", Options(rate_limit=text))
    at_most = (period_s * 1e6 + limits.slack_us) / limits.every_us
    assert count - 0.001 <= at_most <= 1.05 * count
