"""Known answers: queues of known behaviour, measured, against theory.

Simulated workers have exact service times, so in CI only the luck of the draw is between what is
measured and M/D/1 and M/M/c (seeds are fixed): within 15 % of the mean and 20 % of the p99. In
full, workers that really sleep join them (full_sleeping_workers.py), and plans (full_plans.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskrig_loadgen.maths.queueing import Queue
from tests.support.loadgen_command import Loadgen
from tests.support.simulated_worker import SimulatedWorker
from tests.support.truth import scaled

KEY = "async_tasks"


@pytest.fixture
def loadgen(redis_url: str, tmp_path: Path) -> Loadgen:
    return Loadgen(redis_url, tmp_path)


async def simulated(
    loadgen: Loadgen, slots: int, rate: float, service_s: Callable[[], float]
) -> Any:
    async with SimulatedWorker(loadgen.url, KEY, slots=slots, service_s=service_s):
        _, result = await loadgen.result(
            "run",
            "--mix",
            "a=1",
            "--rate",
            str(rate),
            "--duration",
            f"{scaled(8, 60)}s",
            "--arrivals",
            "poisson",
            "--seed",
            "3",
        )
    assert result["verdict"]["complete"]
    return result["series"]["all"]


@pytest.mark.parametrize("load", [0.5, 0.7])
async def test_one_simulated_slot_with_fixed_service_waits_as_m_d_1(load, loadgen):
    series = await simulated(loadgen, 1, load / 0.001, lambda: 0.001)
    queue = Queue(load / 0.001, 0.001, 0.0, 1)
    exact = load / (1 - load) * 0.001 / 2  # Pollaczek and Khinchine
    print(
        f"M/D/1 at {load}: mean wait {series['wait']['mean'] * 1e3:.3f} ms, exact {exact * 1e3:.3f}"
    )
    assert queue.mean_wait_s == pytest.approx(exact)
    assert series["service"]["mean"] == pytest.approx(0.001, abs=2e-6)
    assert series["wait"]["mean"] == pytest.approx(exact, rel=0.15)
    assert series["e2e"]["mean"] == pytest.approx(series["wait"]["mean"] + 0.001, abs=5e-6)


async def test_simulated_slots_with_exponential_service_wait_as_m_m_c(loadgen):
    rng = random.Random(11)
    rate = 0.8 * 5 / 0.005
    series = await simulated(loadgen, 5, rate, lambda: rng.expovariate(1 / 0.005))
    queue = Queue(rate, 0.005, 1.0, 5)
    wait = series["wait"]
    mean, tail = queue.mean_wait_s, queue.wait_s(0.99)
    print(f"M/M/5 at 0.8: mean wait {wait['mean'] * 1e3:.2f} ms, exact {mean * 1e3:.2f}")
    print(f"M/M/5 at 0.8: p99 {wait['p99'] * 1e3:.1f} ms, exact {tail * 1e3:.1f}")
    assert wait["mean"] == pytest.approx(mean, rel=0.15)
    assert wait["p99"] == pytest.approx(tail, rel=0.2)
