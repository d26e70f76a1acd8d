"""When tasks are due: exact, absolute, and truly random where asked."""

from __future__ import annotations

import math
import statistics
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrig.errors import UsageError
from taskrig_loadgen.load.pacer import (
    Arrivals,
    Profile,
    Segment,
    apportioned,
    constant,
    parse_arrivals,
    parse_profile,
)

rates = st.floats(0, 500)
segments = st.builds(Segment, st.floats(0.1, 30), rates, rates)
profiles = st.lists(segments, min_size=1, max_size=4).map(lambda s: Profile(tuple(s)))


def due(profile: Profile, arrivals: str = "uniform", seed: int = 0) -> list[float]:
    return list(parse_arrivals(arrivals).schedule(profile, seed))


def test_a_constant_rate_is_due_at_even_steps_that_do_not_drift():
    times = due(constant(3, 1000))
    assert len(times) == 3000
    assert times[2999] == pytest.approx(2999 / 3, abs=1e-9)


def test_a_ramp_from_zero_is_due_at_square_roots():
    times = due(parse_profile("10s@0..20"))
    assert len(times) == 100
    assert times[25] == pytest.approx(5.0)
    assert times[81] == pytest.approx(9.0)


def test_a_profile_is_read_with_its_units():
    profile = parse_profile("30s@50, 1m@50..500, 5s@2k/s")
    assert profile.text == "30s@50, 60s@50..500, 5s@2000"
    assert profile.total == 1500 + 16500 + 10000
    assert profile.length_s == 95
    assert profile.rate_at(60) == 275
    assert profile.rate_at(1000) == 0


def test_a_pause_in_a_profile_is_kept():
    times = due(parse_profile("1s@2, 5s@0, 1s@2"))
    assert times == [0.0, 0.5, 6.0, 6.5]


@given(profiles)
def test_the_time_of_each_task_is_the_inverse_of_the_number_due(profile):
    times = list(islice(Arrivals().schedule(profile, 0), 500))
    assert times == sorted(times)
    for number, at in enumerate(times):
        assert profile.due_by(at) == pytest.approx(number, abs=1e-6 * max(1, profile.total))


@given(profiles)
def test_exactly_as_many_tasks_are_due_as_the_profile_holds(profile):
    count = sum(1 for _ in Arrivals().schedule(profile, 0))
    assert count == round(profile.total)


@pytest.mark.parametrize("arrivals", ["uniform", "burst:7", "burst:100", "burst:5000"])
@pytest.mark.parametrize(("rate", "length_s"), [(8.3, 60), (10, 10.1), (0.1, 30), (33.3, 3)])
def test_rates_and_bursts_send_exactly_what_was_asked(rate, length_s, arrivals):
    assert len(due(constant(rate, length_s), arrivals)) == round(rate * length_s)


@given(st.floats(0.1, 300), st.floats(1, 60), st.integers(1, 5000))
def test_bursts_of_any_size_send_exactly_rate_times_duration(rate, length_s, burst):
    assert len(due(constant(rate, length_s), f"burst:{burst}")) == round(rate * length_s)


@given(st.integers(0, 10**6), st.lists(st.integers(1, 1000), min_size=1, max_size=20))
def test_tasks_cut_into_shares_are_whole_and_add_up(count, weights):
    shares = [weight / sum(weights) for weight in weights]
    counts = apportioned(count, shares)
    assert sum(counts) == count
    for part, share in zip(counts, shares, strict=True):
        assert abs(part - count * share) < 1.001


def test_bursts_come_together_and_keep_the_rate():
    times = due(constant(100, 10), "burst:50")
    assert len(times) == 1000
    assert len(set(times)) == 20
    assert times[49] == 0.0
    assert times[50] == 0.5


def ks_distance_from_uniform(values: list[float]) -> float:
    """Kolmogorov's D of values in 0..1 against the uniform distribution."""
    ordered = sorted(values)
    count = len(ordered)
    return max(max((n + 1) / count - v, v - n / count) for n, v in enumerate(ordered))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("text", ["100s@200", "50s@0..400, 20s@100..10, 5s@800"])
def test_poisson_gaps_pass_a_kolmogorov_smirnov_test(text, seed):
    """Rescaled by the rate, the gaps of a Poisson process are unit exponentials."""
    profile = parse_profile(text)
    counts = [profile.due_by(at) for at in due(profile, "poisson", seed)]
    gaps = [1 - math.exp(-(b - a)) for a, b in pairwise(counts)]
    critical = 1.95 / math.sqrt(len(gaps))  # 1 in 1,000 by chance; the seeds are fixed
    assert ks_distance_from_uniform(gaps) < critical


def test_uniform_gaps_do_not_pass_for_poisson():
    profile = constant(200, 100)
    counts = [profile.due_by(at) for at in due(profile)]
    gaps = [1 - math.exp(-(b - a)) for a, b in pairwise(counts)]
    assert ks_distance_from_uniform(gaps) > 0.3


def test_poisson_counts_vary_as_much_as_they_should():
    profile = constant(50, 400)
    per_second = [0] * 400
    for at in due(profile, "poisson", 7):
        per_second[int(at)] += 1
    assert statistics.mean(per_second) == pytest.approx(50, rel=0.02)
    assert statistics.variance(per_second) / 50 == pytest.approx(1, abs=0.25)


def test_a_seed_repeats_a_poisson_schedule():
    profile = constant(100, 3)
    assert due(profile, "poisson", 3) == due(profile, "poisson", 3)
    assert due(profile, "poisson", 3) != due(profile, "poisson", 4)


@pytest.mark.parametrize(
    "text",
    ["", "30s", "@50", "30s@", "x@50", "30s@x", "0s@50", "10@-3", "30s@5..x", "1s@0", "1s@5,"],
)
def test_a_bad_profile_is_refused(text):
    with pytest.raises(UsageError, match="--profile"):
        parse_profile(text)


@pytest.mark.parametrize("text", ["", "Poisson", "burst", "burst:0", "burst:-1", "burst:x"])
def test_bad_arrivals_are_refused(text):
    with pytest.raises(UsageError, match="--arrivals"):
        parse_arrivals(text)
