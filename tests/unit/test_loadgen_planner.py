"""Plans: the fewest slots that hold, the highest rate that holds, what cannot be planned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_struct

from taskrig.errors import UsageError
from taskrig_loadgen.analysis.expectations import Expectation, parse_expectation
from taskrig_loadgen.analysis.planner import (
    HEADROOM,
    SIZES,
    Demand,
    check_slo,
    figure_s,
    keda_target,
    least_slots,
    make_plan,
    plan_rate,
    with_slots,
)
from taskrig_loadgen.maths.queueing import Queue, simulate
from taskrig_loadgen.maths.stats import percentile
from taskrig_loadgen.report.plan import headline, notes, page
from taskrig_loadgen.result.model import Calibration
from tests.support.results import a_calibration

SERVICES = [0.005, 0.010, 0.020]
MEAN = sum(SERVICES) / 3
CV2 = sum((s - MEAN) ** 2 for s in SERVICES) / 3 / MEAN**2
QUEUE = Queue(800, MEAN, CV2, 1)
SLO = parse_expectation("wait.p99 < 50ms")


def demand(
    slo: Expectation | None = SLO, services: Sequence[float] = SERVICES, **more: object
) -> Demand:
    return Demand(QUEUE, slo, services, **more)  # type: ignore[arg-type]


def known(*, tasks: int = 5000, rate: float = 800.0) -> Calibration:
    return replace_struct(a_calibration(100), tasks=tasks, rate_per_s=rate)


def test_a_plan_has_exactly_the_fewest_slots_that_hold():
    slots = least_slots(demand())
    assert figure_s(with_slots(QUEUE, slots), SLO, SERVICES) < 0.05
    assert figure_s(with_slots(QUEUE, slots - 1), SLO, SERVICES) >= 0.05


def test_without_an_slo_a_plan_keeps_a_tenth_of_the_slots_free():
    slots = least_slots(demand(None))
    assert with_slots(QUEUE, slots).utilization <= 0.9
    assert with_slots(QUEUE, slots - 1).utilization > 0.9


@pytest.mark.parametrize("per_worker", SIZES)
@pytest.mark.parametrize("slo", [None, SLO])
def test_a_row_has_the_fewest_workers_that_keep_all_that_is_asked_for(per_worker, slo):
    asked = demand(slo)
    row = asked.row(per_worker)
    assert row.slots == row.workers * per_worker
    assert row.utilization <= 0.7
    assert row.one_lost.holds
    assert row.one_lost.utilization < 1
    fewer = row.workers - 1  # is too busy, or does not hold when one of them is lost
    too_busy = with_slots(QUEUE, max(1, fewer * per_worker)).utilization > 0.7
    rest = (fewer - 1) * per_worker
    assert (
        too_busy or rest <= 0 or with_slots(QUEUE, rest).utilization > 0.9 or not asked.holds(rest)
    )
    assert row.max_rate_per_s == pytest.approx(row.slots / MEAN)


def test_a_worker_more_keeps_the_slo_in_a_simulation_too():
    row = demand().row(5)
    waits, _ = simulate(with_slots(QUEUE, row.slots - 5), SERVICES, count=50_000)
    assert percentile(sorted(waits), 0.99) == pytest.approx(row.one_lost.wait_p99_s, abs=0.003)
    assert percentile(sorted(waits), 0.99) < 0.05


def test_a_core_is_all_that_a_worker_has():
    row = demand(cpu_s=0.005, memory_bytes=2**20).row(100)
    assert row.workers == 6  # 800/s of 5 ms are 4 cores, of which 70 % may be busy
    assert row.bound_by.startswith("CPU")
    assert row.cpu_per_worker == pytest.approx(4 / 6)
    assert row.max_rate_per_s == pytest.approx(6 / 0.005)
    assert row.memory_bytes == 6 * 2**20
    assert demand().row(100).cpu_per_worker is None


def test_more_headroom_takes_more_workers_and_the_autoscaler_keeps_it():
    rows = [replace(demand(None), headroom=share).row(5) for share in (0.3, 0.7, 0.9)]
    assert [row.workers for row in rows] == [7, 4, 4]
    assert [row.keda_target for row in rows] == [1, 3, 4]
    for row in rows[:2]:  # as many as planned, where as many wait and run as a target for each
        assert row.keda_target * row.workers <= row.slots * 0.7


def test_operations_and_the_manifest_have_the_rule_of_the_plan():
    root = Path(__file__).parents[2]
    manifest = (root / "deploy/kubernetes/keda/scaledobject.yaml").read_text()
    assert re.search(r'target: "(\d+)"', manifest)[1] == str(keda_target(5, HEADROOM))
    assert "70 % of `worker.max_concurrent`" in (root / "docs/operations.md").read_text()


def test_a_plan_recommends_the_fewest_workers_and_of_those_the_fewest_slots():
    plan = make_plan(demand(), SIZES, known())
    best, rows = plan.recommended, plan.rows
    assert best.workers == min(row.workers for row in rows)
    assert best.slots == min(row.slots for row in rows if row.workers == best.workers)
    assert len({row.workers for row in rows}) < len(rows)  # some are equal
    assert (plan.warnings, plan.workers_range) == ([], None)
    assert plan.recommended.bound_by in plan.why


def test_a_plan_from_seven_tasks_says_so_and_gives_a_range():
    few = demand(services=[0.005, 0.005, 0.005, 0.01, 0.01, 0.02, 0.02])
    plan = make_plan(few, (5,), known(tasks=7))
    assert "only 7 tasks were measured" in plan.warnings[0]
    low, high = plan.workers_range
    assert low <= plan.recommended.workers <= high
    assert low < high
    assert f"{low} to {high} workers of 5 slots" in headline(plan)
    assert make_plan(few, (5,), known(tasks=7)) == plan  # the same every time


@pytest.mark.parametrize("measured", [80.0, 9000.0])
def test_a_plan_far_from_the_measured_rate_says_so_and_gives_a_range(measured):
    plan = make_plan(demand(), (5,), known(rate=measured))
    assert "measured at" in plan.warnings[0]
    assert plan.workers_range is not None


def test_a_plan_from_a_run_without_a_prediction_says_how_to_get_one():
    assert notes(make_plan(demand(), (5,), known()))[-1] == (
        "No prediction for this run: use a constant --rate, and --calibrate for your own types."
    )


def test_the_page_of_a_plan_has_its_curves_and_needs_no_network():
    asked = demand(cpu_s=0.001, memory_bytes=50 * 2**20)
    plan = make_plan(asked, SIZES, known(tasks=7))
    text = page(plan, asked)
    assert text.count("<svg") == 2
    assert escape(headline(plan)) in text
    assert "http:" not in text
    assert "https:" not in text
    for row in plan.rows:
        assert f"<td>{row.workers:,}</td>" in text


def test_the_highest_rate_is_where_the_slo_stops_to_hold():
    slots = with_slots(QUEUE, 20)
    rate = plan_rate(slots, SLO, SERVICES)
    just_over = Queue(rate * 1.001, MEAN, CV2, 20)
    assert figure_s(Queue(rate, MEAN, CV2, 20), SLO, SERVICES) < 0.05
    assert figure_s(just_over, SLO, SERVICES) >= 0.05


def test_end_to_end_times_are_planned_by_simulation():
    slo = parse_expectation("e2e.p99 < 60ms")
    slots = least_slots(demand(slo))
    assert 10 <= slots <= 12
    assert figure_s(with_slots(QUEUE, slots), slo, SERVICES) < 0.06
    with pytest.raises(UsageError, match="no number of slots"):
        least_slots(demand(parse_expectation("e2e.p99 < 15ms")))


@pytest.mark.parametrize("slo", [None, SLO])
def test_a_rate_beyond_any_plan_is_refused_before_anything_is_simulated(slo, monkeypatch):
    monkeypatch.setattr(
        "taskrig_loadgen.analysis.planner.figure_s", None
    )  # would take a slot's memory each
    with pytest.raises(UsageError, match=r"500,000 slots busy; a plan goes up to 100,000"):
        least_slots(Demand(Queue(1e6, 0.5, 0.0, 1), slo, SERVICES))


@pytest.mark.parametrize(
    "text",
    ["lost == 0", "service.p99 < 1s", "wait.p99 > 1s", "wait{type=a}.p99 < 1s", "wait.max < 1s"],
)
def test_what_cannot_be_planned_is_refused(text):
    with pytest.raises(UsageError, match="--slo"):
        check_slo(parse_expectation(text))
