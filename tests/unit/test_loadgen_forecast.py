"""Predicted beside measured: made of what was known before the run, and of nothing it measures."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from taskrig_loadgen.analysis.prediction import (
    TYPICAL_TURNAROUND_S,
    calibration_of,
    measured_calibration,
    predict,
    predicted,
    queue_from,
    service_samples,
)
from taskrig_loadgen.load.mix import parse_mix
from taskrig_loadgen.load.pacer import Arrivals, constant, parse_profile
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.maths.queueing import Queue
from taskrig_loadgen.result.model import Figures, Result
from tests.support.results import a_calibration, a_result

STEADY = Workload(mix=parse_mix("a=1"), profile=constant(100, 10), arrivals=Arrivals("poisson"))


def told(result: Result) -> list[float | None]:
    forecast = predicted(result)
    assert forecast is not None
    return [row.predicted_s for row in forecast.rows]


def spoilt(value: Any, rng: random.Random) -> Any:
    """The same part of a result with every number in it changed."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **spoilt(msgspec.structs.asdict(value), rng))
    if isinstance(value, dict):
        return {key: spoilt(one, rng) for key, one in value.items()}
    if isinstance(value, list):
        return [spoilt(one, rng) for one in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value * rng.uniform(2, 9) + 1 if is_number else value


@pytest.mark.parametrize("part", ["series", "totals", "timeline", "accounting", "clock", "verdict"])
def test_no_result_of_a_run_leaks_into_its_prediction(part):
    result = a_result(rate=100, calibrated=True)
    before = told(result)
    setattr(result, part, spoilt(getattr(result, part), random.Random(1)))
    assert told(result) == before


def test_two_runs_that_wait_differently_were_told_the_same():
    quick, slow = (a_result(rate=100, calibrated=True, wait_s=s) for s in (0.01, 3.0))
    assert told(quick) == told(slow)
    assert predicted(slow).rows[0].measured_s == pytest.approx(3.0)
    assert predicted(quick).rows[0].measured_s == pytest.approx(0.01)


def test_another_calibration_does_change_the_prediction():
    calibration = a_calibration(rate=100)
    calibration.service.mean *= 2
    slower = a_result(rate=100)
    slower.forecast = predict(STEADY, 5, calibration)
    assert told(slower)[0] > told(a_result(rate=100, calibrated=True))[0]


def test_a_calibration_tells_a_queue_of_any_rate_and_slots():
    calibration = a_calibration(rate=100)
    queue = queue_from(calibration, rate=70, slots=3, arrivals="poisson")
    assert isinstance(queue, Queue)
    assert queue.service_s == pytest.approx(0.02 + calibration.turnaround_s)
    assert (queue.rate, queue.slots, queue.arrival_cv2) == (70, 3, 1.0)
    assert queue_from(calibration, rate=1, slots=1, arrivals="burst:7").arrival_cv2 == 7
    samples = service_samples(calibration)
    assert sum(samples) / len(samples) == pytest.approx(queue.service_s, rel=0.01)


def test_the_rate_foretold_is_that_of_the_schedule_after_the_warm_up():
    known = a_calibration(rate=100)
    warm = replace(STEADY, warmup_s=2.0)
    due = [moment for moment in warm.due() if moment >= 2.0]
    assert predict(warm, 5, known).rate_per_s == pytest.approx(len(due) / 8)
    huge = replace(STEADY, profile=constant(60_000, 60))
    assert predict(huge, 5, known).rate_per_s == 60_000  # not worth the counting


def test_declared_services_are_known_without_a_calibration():
    demo = replace(STEADY, mix=parse_mix("fast=1,slow=1"))
    forecast = predict(demo, 500, None)
    assert (forecast.service.mean, forecast.service.stddev) == pytest.approx((1.25, 0.75))
    assert forecast.turnaround_s == TYPICAL_TURNAROUND_S
    assert "declared" in forecast.made_from


@pytest.mark.parametrize(
    ("workload", "slots"),
    [
        (STEADY, 5),  # nobody knows how long an "a" takes
        (replace(STEADY, mix=parse_mix("fast=1")), 0),  # no worker
        (replace(STEADY, mix=parse_mix("fast=1"), profile=None), 5),
        (replace(STEADY, mix=parse_mix("fast=1"), profile=parse_profile("9s@1..5")), 5),
        (replace(STEADY, mix=parse_mix("fast=1"), profile=parse_profile("9s@1, 9s@5")), 5),
    ],
)
def test_where_theory_or_knowledge_ends_nothing_is_foretold(workload, slots):
    assert predict(workload, slots, None) is None
    assert predicted(a_result(rate=100)) is None


def test_a_plan_takes_the_calibration_before_the_run_itself():
    result = a_result(rate=100, calibrated=True)
    assert calibration_of(result) == result.calibration
    assert calibration_of(a_result(rate=100)).tasks == 400


def test_a_calibration_holds_no_wait():
    result = a_result(rate=100)
    assert "wait" not in msgspec.json.encode(measured_calibration(result)).decode()
    result.overall.service = Figures(count=0)
    assert measured_calibration(result) is None
