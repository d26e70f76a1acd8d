"""A run foretold from its calibration, against workers whose services are exact arithmetic.

Their waits depend on the schedule and the draw alone, whatever the machine is doing, so this
holds the prediction to the error that is stated for real runs (full_plans.py): 20 % of the mean,
30 % of the p99. The send lag is the machine's and not in these waits: it is taken off.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from taskrig_loadgen.analysis.prediction import predicted
from tests.support.loadgen_command import Loadgen
from tests.support.results import typed
from tests.support.simulated_worker import SimulatedWorker
from tests.support.truth import FULL, scaled

SLOTS = 10
SERVICES_S = [0.005, 0.010, 0.020]
MEAN_S = sum(SERVICES_S) / 3


@pytest.fixture
def loadgen(redis_url: str, tmp_path: Path) -> Loadgen:
    return Loadgen(redis_url, tmp_path)


@pytest.mark.parametrize("load", [0.7, 0.9] if FULL else [0.7])  # 0.9 takes minutes to settle
async def test_a_calibration_foretells_a_simulated_run(load, loadgen):
    rng = random.Random(5)
    async with SimulatedWorker(
        loadgen.url, "async_tasks", slots=SLOTS, service_s=lambda: rng.choice(SERVICES_S)
    ):
        _, result = await loadgen.result(
            "run",
            "--mix",
            "a=1",
            "--rate",
            f"{load * SLOTS / MEAN_S:.0f}",
            "--calibrate",
            "--duration",
            f"{scaled(8, 120)}s",
            "--arrivals",
            "poisson",
            "--seed",
            "3",
        )
    forecast, lag_s = predicted(typed(result)), result["forecast"]["lag_s"]
    assert forecast.service_s == pytest.approx(MEAN_S, rel=0.03)
    assert forecast.utilization == pytest.approx(load, rel=0.05)
    for figure, error in (("mean", 0.2), ("p99", 0.3)):
        row = next(row for row in forecast.rows if row.figure == f"wait {figure}")
        told_s, seen_s = row.predicted_s - lag_s, row.measured_s
        print(f"{load:.0%}: {figure} {seen_s * 1e3:.2f} ms, foretold {told_s * 1e3:.2f} ms")
        assert seen_s == pytest.approx(told_s, rel=error)
