"""The simulation of many workers against one Redis keeps to what must hold."""

from __future__ import annotations

import pytest

from benchmarks.scaling import curve, rate_of_workers
from taskrig_loadgen.maths.queueing import fit_scaling


def test_one_worker_needs_its_own_time_and_that_of_redis() -> None:
    rate = rate_of_workers(1, worker_us=8, server_us=4)

    assert rate == pytest.approx(1e6 / 12, rel=0.05)


def test_no_number_of_workers_passes_the_ceiling_of_redis() -> None:
    rates = [rate for _, rate in curve([1, 2, 4, 8, 32], worker_us=8, server_us=4)]

    assert rates == sorted(rates) or max(rates) == pytest.approx(250_000, rel=0.05)
    assert rates[-1] == pytest.approx(250_000, rel=0.05)


def test_handlers_that_cost_cpu_scale_almost_linearly() -> None:
    law = fit_scaling(curve([1, 2, 4, 8], worker_us=1000, server_us=4))

    assert law.rate(8) / law.rate(1) > 7.5


def test_times_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        rate_of_workers(1, worker_us=0, server_us=4)
