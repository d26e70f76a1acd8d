"""Queueing theory against tables, limits and a simulation of its own."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from taskrig_loadgen.maths.queueing import Queue, erlang_c, fit_scaling, simulate
from taskrig_loadgen.maths.stats import percentile


@pytest.mark.parametrize(
    ("slots", "load", "waits"),
    [(1, 0.7, 0.7), (2, 1.0, 1 / 3), (5, 4.0, 0.5541), (10, 8.0, 0.4092), (100, 90.0, 0.2169)],
)
def test_erlang_c_agrees_with_published_values(slots, load, waits):
    assert erlang_c(slots, load) == pytest.approx(waits, abs=1e-4)


def test_erlang_c_of_too_much_load_is_certain_and_of_thousands_of_slots_does_not_overflow():
    assert erlang_c(3, 3.0) == 1.0
    assert 0 < erlang_c(5000, 4900) < 1


def test_one_slot_gives_the_formula_of_pollaczek_and_khinchine():
    for cv2 in (0.0, 0.3, 1.0):
        queue = Queue(80, 0.01, cv2, 1)
        exact = 0.8 / (1 - 0.8) * 0.01 * (1 + cv2) / 2
        assert queue.mean_wait_s == pytest.approx(exact, rel=1e-9)


def test_a_queue_with_too_much_load_waits_for_ever():
    queue = Queue(1001, 0.01, 0.5, 10)
    assert not queue.stable
    assert math.isinf(queue.mean_wait_s)
    assert math.isinf(queue.wait_s(0.99))


def test_nobody_waits_in_a_queue_that_is_nearly_empty():
    assert Queue(1, 0.01, 0.5, 10).wait_s(0.99) == 0.0


@pytest.mark.parametrize("slots", [1, 4, 20])
@pytest.mark.parametrize("utilization", [0.7, 0.9])
@pytest.mark.parametrize("services", [[0.01], [0.005, 0.005, 0.02], [0.005] * 8 + [0.02, 0.05]])
def test_the_forecast_agrees_with_a_simulation(slots, utilization, services):
    mean = statistics.mean(services)
    cv2 = statistics.pvariance(services) / mean**2
    queue = Queue(utilization * slots / mean, mean, cv2, slots)
    waits, _ = simulate(queue, services, count=60_000, seed=3)
    assert queue.mean_wait_s == pytest.approx(statistics.mean(waits), rel=0.2)
    assert queue.wait_s(0.99) == pytest.approx(percentile(sorted(waits), 0.99), rel=0.3)


def test_the_simulation_itself_agrees_with_exponential_theory():
    rng = random.Random(5)
    services = [rng.expovariate(100) for _ in range(50_000)]
    queue = Queue(400, 0.01, 1.0, 5)
    waits, totals = simulate(queue, services, count=100_000)
    exact = erlang_c(5, 4.0) * 0.01 / (5 - 4.0)
    assert statistics.mean(waits) == pytest.approx(exact, rel=0.08)
    assert statistics.mean(totals) == pytest.approx(exact + 0.01, rel=0.05)


def test_the_scaling_law_finds_the_parameters_it_was_made_with():
    points = [(n, 100 * n / (1 + 0.05 * (n - 1) + 0.002 * n * (n - 1))) for n in (1, 2, 4, 8, 16)]
    law = fit_scaling(points)
    assert law.single == pytest.approx(100)
    assert law.contention == pytest.approx(0.05)
    assert law.chatter == pytest.approx(0.002)
    assert law.best_slots == pytest.approx(math.sqrt(0.95 / 0.002))


def test_a_scaling_law_never_has_a_negative_cost():
    law = fit_scaling([(1, 10), (2, 21), (4, 43), (8, 88)])  # better than linear
    assert law.contention == law.chatter == 0
    assert math.isinf(law.best_slots)


def test_a_scaling_law_needs_three_points():
    with pytest.raises(ValueError, match="three"):
        fit_scaling([(1, 10), (2, 20), (2, 21)])
