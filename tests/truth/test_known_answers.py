"""Known answers: queues of known behaviour, measured, against theory.

Simulated workers have exact service times, so in CI only the luck of the draw is between what is
measured and M/D/1 and M/M/c (seeds are fixed): within 15 % of the mean and 20 % of the p99. In
full, workers that really sleep join them, within 20 % and 30 % and the 1.5 ms of a pick-up.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadgen.capacity import Queue
from tests.support.loadgen_command import Loadgen
from tests.support.simulated_worker import SimulatedWorker
from tests.support.truth import FULL, PICKUP_S, agrees, scaled

KEY = "async_tasks"


@pytest.fixture
def loadgen(redis_url: str, tmp_path: Path) -> Loadgen:
    return Loadgen(redis_url, tmp_path)


async def simulated(
    loadgen: Loadgen, slots: int, rate: float, service_s: Callable[[], float]
) -> Any:
    async with SimulatedWorker(loadgen.url, KEY, slots=slots, service_s=service_s):
        _, result = await loadgen.result(
            "run", "--mix", "a=1", "--rate", str(rate), "--duration", f"{scaled(8, 60)}s",
            "--arrivals", "poisson", "--seed", "3",
        )  # fmt: skip
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


MIXES = {  # of 5 to 20 ms; in CI only the first
    "even": "ms5=1,ms10=1,ms20=1",
    "mostly short": "ms5=8,ms20=2",
    "fixed": "ms10=1",
}
SLOTS = 10


@pytest.mark.parametrize("name", list(MIXES)[: 3 if FULL else 1])
async def test_a_plan_made_from_a_quiet_run_foretells_a_busy_one(name, loadgen):
    """A real worker with awaiting handlers; calibrated at 50 % load, foretold at 70 and 90 %."""
    import json

    from loadgen.forecast import queue_of
    from loadgen.own_workers import own_worker
    from worker.config.load import load_config

    config = load_config(env={}, overrides={"redis.url": loadgen.url})
    sets = ["handlers=[tests.support.short_tasks]"]
    flags = ["--mix", MIXES[name], "--arrivals", "poisson", "--shuffle", "--allow-unknown"]
    async with own_worker(config, SLOTS, sets=sets):
        guess = {"even": 35 / 3e3, "mostly short": 0.008, "fixed": 0.010}[name] + 0.001
        length = f"{scaled(4, 20)}s"
        rate = 0.5 * SLOTS / guess
        _, quiet = await loadgen.result(
            "run", *flags, "--rate", f"{rate:.0f}", "--duration", length
        )
        _, backlog = await loadgen.result("drain", "--backlog", "1500", *flags[:2])
        quiet["totals"]["slot_overhead_s"] = backlog["totals"]["slot_overhead_s"]
        calibrated = queue_of(quiet, slots=SLOTS)
        for load in (0.7, 0.9) if FULL else (0.7,):
            rate = load * SLOTS / calibrated.service_s
            _, busy = await loadgen.result(
                "run", *flags, "--rate", f"{rate:.0f}", "--duration", f"{scaled(6, 60)}s",
                "--warmup", "1s",
            )  # fmt: skip
            told = queue_of(quiet, rate=busy["totals"]["achieved_per_s"], slots=SLOTS)
            wait = busy["series"]["all"]["wait"]
            mean, tail = told.seen_mean_s, told.seen_wait_s(0.99)
            print(json.dumps({
                "mix": name, "load": load, "rate": round(told.rate), "mean_ms": wait["mean"] * 1e3,
                "told_mean_ms": mean * 1e3, "p99_ms": wait["p99"] * 1e3, "told_p99_ms": tail * 1e3,
                "pickup_ms": told.pickup_s * 1e3,
                "turnaround_ms": quiet["totals"]["slot_overhead_s"] * 1e3,
            }))  # fmt: skip
            agrees(wait["mean"] + PICKUP_S, mean, 0.2)
            agrees(wait["p99"] + PICKUP_S, tail, 0.3)
