"""Workers that really sleep, against theory; only `make truth` runs these: they need quiet.

The services are known; what the worker needs between them is calibrated just before each run,
never taken from it. Stated error: 20 % of the mean and 30 % of the p99, of the median of three.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskrig_loadgen.analysis.prediction import predicted
from tests.support.fake_worker import FakeWorker
from tests.support.loadgen_command import Loadgen
from tests.support.results import typed

KEY = "async_tasks"
ROUNDS = 3
LENGTH_S = 30
SERVICE_S = 0.020


@pytest.fixture
def loadgen(redis_url: str, tmp_path: Path) -> Loadgen:
    return Loadgen(redis_url, tmp_path)


async def measured(
    loadgen: Loadgen, slots: int, load: float, service_s: Callable[[str], float], seed: int
) -> dict[str, Any]:
    """A steady run of a worker that sleeps so long for each task, foretold."""
    async with FakeWorker(loadgen.url, KEY, slots=slots, service_s=service_s):
        _, result = await loadgen.result(
            "run",
            "--mix",
            "a=1",
            "--rate",
            f"{load * slots / SERVICE_S:g}",
            "--duration",
            f"{LENGTH_S}s",
            "--arrivals",
            "poisson",
            "--seed",
            str(seed),
            "--calibrate",
        )
    assert result["verdict"]["complete"]
    return result


def ratio(name: str, results: list[dict[str, Any]], figure: str) -> float:
    """Median of measured over predicted."""
    pairs = []
    for result in results:
        forecast = predicted(typed(result))
        assert forecast is not None
        row = next(row for row in forecast.rows if row.figure == f"wait {figure}")
        pairs.append((row.measured_s, row.predicted_s))
    told = ", ".join(f"{seen * 1e3:.2f} of {told * 1e3:.2f} ms" for seen, told in pairs)
    middle = statistics.median(seen / told for seen, told in pairs)
    print(f"{name}: {figure} {told}: {middle:.2f}")
    return middle


async def test_one_slot_with_fixed_service_waits_as_m_d_1(loadgen):
    results = [
        await measured(loadgen, 1, 0.7, lambda _: SERVICE_S, n) for n in range(1, ROUNDS + 1)
    ]
    for result in results:
        assert result["series"]["all"]["service"]["mean"] == pytest.approx(SERVICE_S, rel=0.03)
    assert ratio("M/D/1", results, "mean") == pytest.approx(1, abs=0.2)


async def test_several_slots_with_exponential_service_wait_as_m_m_c(loadgen):
    rng = random.Random(11)
    results = [
        await measured(loadgen, 5, 0.8, lambda _: rng.expovariate(1 / SERVICE_S), n)
        for n in range(1, ROUNDS + 1)
    ]
    for result in results:
        series = result["series"]["all"]
        wait, service = series["wait"]["mean"], series["service"]["mean"]
        assert service == pytest.approx(SERVICE_S, rel=0.06)
        assert series["e2e"]["mean"] == pytest.approx(wait + service, abs=0.005)
    assert ratio("M/M/5", results, "mean") == pytest.approx(1, abs=0.2)
    assert ratio("M/M/5", results, "p99") == pytest.approx(1, abs=0.3)
