"""Plans: the fewest slots that hold, the highest rate that holds, what cannot be planned."""

from __future__ import annotations

import pytest

from taskrig.errors import UsageError
from taskrig_loadgen.analysis.expectations import parse_expectation
from taskrig_loadgen.analysis.planner import check_slo, figure_s, plan_rate, plan_slots, with_slots
from taskrig_loadgen.maths.queueing import Queue

SERVICES = [0.005, 0.010, 0.020]
MEAN = sum(SERVICES) / 3
CV2 = sum((s - MEAN) ** 2 for s in SERVICES) / 3 / MEAN**2
QUEUE = Queue(800, MEAN, CV2, 1)
SLO = parse_expectation("wait.p99 < 50ms")


def test_a_plan_has_exactly_the_fewest_slots_that_hold():
    planned = plan_slots(QUEUE, SLO, SERVICES)
    assert figure_s(planned.queue, SLO, SERVICES) < 0.05
    assert figure_s(with_slots(QUEUE, planned.queue.slots - 1), SLO, SERVICES) >= 0.05


def test_without_an_slo_a_plan_keeps_a_tenth_of_the_slots_free():
    planned = plan_slots(QUEUE, None, SERVICES)
    assert planned.queue.utilization <= 0.9
    assert with_slots(QUEUE, planned.queue.slots - 1).utilization > 0.9


def test_a_plan_counts_whole_workers_and_an_autoscaler_target():
    plan = plan_slots(QUEUE, SLO, SERVICES).plan(5, SLO, None)
    assert plan.workers * 5 >= plan.slots > (plan.workers - 1) * 5
    assert 1 <= plan.keda_target <= 5
    assert plan.max_rate_per_s == pytest.approx(plan.workers * 5 / MEAN)


def test_the_highest_rate_is_where_the_slo_stops_to_hold():
    slots = with_slots(QUEUE, 20)
    rate = plan_rate(slots, SLO, SERVICES)
    just_over = Queue(rate * 1.001, MEAN, CV2, 20)
    assert figure_s(Queue(rate, MEAN, CV2, 20), SLO, SERVICES) < 0.05
    assert figure_s(just_over, SLO, SERVICES) >= 0.05


def test_end_to_end_times_are_planned_by_simulation():
    planned = plan_slots(QUEUE, parse_expectation("e2e.p99 < 60ms"), SERVICES)
    assert 10 <= planned.queue.slots <= 12
    assert figure_s(planned.queue, parse_expectation("e2e.p99 < 60ms"), SERVICES) < 0.06
    with pytest.raises(UsageError, match="no number of slots"):
        plan_slots(QUEUE, parse_expectation("e2e.p99 < 15ms"), SERVICES)


@pytest.mark.parametrize("slo", [None, SLO])
def test_a_rate_beyond_any_plan_is_refused_before_anything_is_simulated(slo, monkeypatch):
    monkeypatch.setattr(
        "taskrig_loadgen.analysis.planner.figure_s", None
    )  # would take a slot's memory each
    with pytest.raises(UsageError, match=r"500,000 slots busy; a plan goes up to 100,000"):
        plan_slots(Queue(1e6, 0.5, 0.0, 1), slo, SERVICES)


@pytest.mark.parametrize(
    "text",
    ["lost == 0", "service.p99 < 1s", "wait.p99 > 1s", "wait{type=a}.p99 < 1s", "wait.max < 1s"],
)
def test_what_cannot_be_planned_is_refused(text):
    with pytest.raises(UsageError, match="--slo"):
        check_slo(parse_expectation(text))
