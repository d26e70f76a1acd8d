"""Workers that really sleep, against theory; only `make truth` runs these: they need quiet.

Stated error: 20 % of the mean, 30 % of the p99, and the 1.5 ms that a pick-up may take.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from loadgen.capacity import Queue
from tests.support.fake_worker import FakeWorker
from tests.support.loadgen_command import Loadgen
from tests.support.truth import agrees, scaled

KEY = "async_tasks"


@pytest.fixture
def loadgen(redis_url: str, tmp_path: Path) -> Loadgen:
    return Loadgen(redis_url, tmp_path)


async def measured(loadgen: Loadgen, worker: FakeWorker, rate: float, length_s: float) -> Any:
    async with worker:
        _, result = await loadgen.result(
            "run", "--mix", "a=1", "--rate", str(rate), "--duration", f"{length_s}s",
            "--arrivals", "poisson", "--seed", "3",
        )  # fmt: skip
    assert result["verdict"]["complete"]
    return result


def show(name: str, result: Any, queue: Queue) -> None:
    wait = result["series"]["all"]["wait"]
    p99 = wait.get("p99", float("nan"))
    print(
        f"{name}: load {queue.utilization:.2f}, mean wait {wait['mean'] * 1e3:.2f} ms "
        f"(theory {queue.mean_wait_s * 1e3:.2f}), p99 {p99 * 1e3:.1f} ms "
        f"(theory {queue.wait_s(0.99) * 1e3:.1f})"
    )


def theory(result: Any, cv2: float, slots: int) -> Queue:
    """The queue with the rate and the mean service that the run really had."""
    service = result["series"]["all"]["service"]
    overhead = result["totals"]["slot_overhead_s"] or 0.0
    return Queue(result["totals"]["achieved_per_s"], service["mean"] + overhead, cv2, slots)


async def test_one_slot_with_fixed_service_waits_as_m_d_1(loadgen):
    load, service_s = 0.7, 0.020
    worker = FakeWorker(loadgen.url, KEY, slots=1, service_s=lambda _: service_s)
    result = await measured(loadgen, worker, load / service_s, scaled(8, 60))
    queue = theory(result, 0.0, 1)
    show("M/D/1", result, queue)
    wait = result["series"]["all"]["wait"]
    agrees(wait["mean"], queue.mean_wait_s, 0.2)


async def test_several_slots_with_exponential_service_wait_as_m_m_c(loadgen):
    rng, slots = random.Random(11), 5
    worker = FakeWorker(
        loadgen.url, KEY, slots=slots, service_s=lambda _: rng.expovariate(1 / 0.02)
    )
    result = await measured(loadgen, worker, 0.8 * slots / 0.02, scaled(8, 60))
    service = result["series"]["all"]["service"]
    queue = theory(result, (service["stddev"] / service["mean"]) ** 2, slots)
    show("M/M/5", result, queue)
    wait = result["series"]["all"]["wait"]
    agrees(wait["mean"], queue.mean_wait_s, 0.2)
    agrees(wait["p99"], queue.wait_s(0.99), 0.3)
    e2e = result["series"]["all"]["e2e"]
    assert e2e["mean"] == pytest.approx(wait["mean"] + service["mean"], abs=0.005)
