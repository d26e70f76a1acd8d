"""Plans against real runs: what was foretold before a run beside what the run measured.

Only `make truth` and `make truth-plan` run these: they need quiet. CI has test_plan.py.

A real worker with awaiting handlers of 5 to 20 ms. Each run is calibrated in the minute before
it. A round counts when the calibration before it and the one after it agree: where they do not,
somebody else used the machine meanwhile, and the round is done again. What the run itself
measured has no say in that. Of the rounds the median counts. Stated error: 20 % of the mean
wait, 30 % of the p99.
"""

from __future__ import annotations

import json
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taskrig.config.load import load_config
from taskrig_loadgen.analysis.prediction import predicted, queue_from
from taskrig_loadgen.run.own_workers import own_worker
from tests.support.loadgen_command import Loadgen
from tests.support.results import typed

MIXES = {"even": "ms5=1,ms10=1,ms20=1", "mostly short": "ms5=8,ms20=2", "fixed": "ms10=1"}
LOADS = (0.7, 0.9)
ROUNDS = 3
LENGTH_S = 30
MOST_ROUNDS = 3 * ROUNDS  # with those that somebody spoilt
SLOTS = 10
SAME_TAKEN = 0.02  # calibrations agree when a slot is taken for as long, within this share,
SAME_PICKUP = 0.5  # and a free slot picks up within this one
RESULTS = Path(__file__).parents[2] / "results"  # read by `python -m tests.truth.table`


@pytest.fixture
def loadgen(redis_url: str, tmp_path: Path) -> Loadgen:
    return Loadgen(redis_url, tmp_path)


@pytest.mark.parametrize("name", MIXES)
async def test_a_calibration_foretells_a_busy_run(name, loadgen):
    config = load_config(env={}, overrides={"redis.url": loadgen.url})
    async with own_worker(config, SLOTS, sets=["handlers=[tests.support.short_tasks]"]):
        rows = await rounds_of(loadgen, MIXES[name])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"truth-plan-{name.replace(' ', '-')}.json").write_text(json.dumps(rows))
    for row in rows:
        assert len(row["rounds"]) == ROUNDS, f"others used the machine: {row['spoilt']} spoilt"
        ratios = {figure: middle(row["rounds"], figure) for figure in ("mean", "p99")}
        print(f"{row['mix']} at {row['load']:.0%}: measured over predicted {ratios}")
        assert ratios["mean"] == pytest.approx(1, abs=0.2)
        assert ratios["p99"] == pytest.approx(1, abs=0.3)


def middle(rounds: list[dict[str, Any]], figure: str) -> float:
    """Median of measured over predicted."""
    return statistics.median(r[figure]["measured_s"] / r[figure]["predicted_s"] for r in rounds)


async def rounds_of(loadgen: Loadgen, mix: str) -> list[dict[str, Any]]:
    """For each load its undisturbed rounds, in turn; every run also calibrates for the next."""
    known = typed(await steady(loadgen, mix, 100, 1, seed=99)).calibration
    assert known is not None
    capacity = SLOTS / queue_from(known, rate=1, slots=SLOTS, arrivals="poisson").service_s
    rows: list[dict[str, Any]] = [
        {"mix": mix, "load": load, "rounds": [], "spoilt": 0} for load in LOADS
    ]
    for number in range(MOST_ROUNDS):
        open_rows = [row for row in rows if len(row["rounds"]) < ROUNDS]
        if not open_rows:
            break
        runs = [
            await steady(loadgen, mix, row["load"] * capacity, LENGTH_S, seed=number)
            for row in open_rows
        ]
        runs.append(await steady(loadgen, mix, 100, 1, seed=number))
        for row, (run, following) in zip(open_rows, pairwise(runs), strict=True):
            if same(run["calibration"], following["calibration"]):
                row["rounds"].append(foretold(run))
            else:
                row["spoilt"] += 1
            print(json.dumps({"load": row["load"], "spoilt": row["spoilt"], **foretold(run)}))
    return rows


def same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two calibrations tell of the same machine."""
    taken = [one["service"]["mean"] + one["turnaround_s"] for one in (before, after)]
    pickup = [one["pickup_s"] + one["lag_s"] for one in (before, after)]
    return max(taken) / min(taken) < 1 + SAME_TAKEN and max(pickup) / min(pickup) < 1 + SAME_PICKUP


def foretold(result: dict[str, Any]) -> dict[str, Any]:
    """Predicted and measured mean and p99 of the wait in one run."""
    prediction = predicted(typed(result))
    assert prediction is not None
    forecast = msgspec.to_builtins(prediction)
    rows = {row["figure"].removeprefix("wait "): row for row in forecast["rows"]}
    inputs = ("rate_per_s", "utilization", "service_s", "turnaround_s", "pickup_s")
    told = {name: forecast[name] for name in inputs}
    service, totals = result["series"]["all"]["service"], result["totals"]
    ran = {"service_s": service["mean"], "turnaround_s": totals["slot_overhead_s"]}
    return {**told, "ran": ran, "mean": rows["mean"], "p99": rows["p99"]}


async def steady(
    loadgen: Loadgen, mix: str, rate: float, length_s: float, seed: int
) -> dict[str, Any]:
    _, result = await loadgen.result(
        "run",
        "--mix",
        mix,
        "--arrivals",
        "poisson",
        "--shuffle",
        "--allow-unknown",
        "--yes",
        "--rate",
        f"{rate:.1f}",
        "--duration",
        f"{length_s}s",
        "--seed",
        str(seed + 1),
        "--calibrate",
    )
    assert result["verdict"]["complete"]
    return result
