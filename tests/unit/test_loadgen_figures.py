"""Ideal schedules, percentiles, units, the ledger, the histogram."""

from __future__ import annotations

import math
import random
import time
from types import SimpleNamespace

import msgspec
import pytest

from taskrig.errors import UsageError
from taskrig_loadgen.load.mix import NOMINAL_SERVICE_S, parse_mix
from taskrig_loadgen.maths.histogram import encode, merge
from taskrig_loadgen.maths.queueing import list_schedule_s
from taskrig_loadgen.maths.stats import percentile, supported
from taskrig_loadgen.quantity import duration_s, rate_per_s, show_s, size_bytes
from taskrig_loadgen.queueview import Worker
from taskrig_loadgen.result.figures import SlotCosts, collect, slot_costs, summary, worker_use
from taskrig_loadgen.result.ledger import FAILED, SUCCEEDED, Ledger
from taskrig_loadgen.result.timeline import timeline


@pytest.mark.parametrize(("slots", "ideal_s"), [(1, 7.5), (5, 2.5), (7, 2.0), (10, 2.0)])
def test_the_cards_mix_has_the_ideal_schedule_of_the_design(slots, ideal_s):
    mix = parse_mix("fast=3,medium=2,slow=2")
    services = [NOMINAL_SERVICE_S[mix.types[kind]] for kind in mix.once()]
    assert list_schedule_s(services, slots) == ideal_s


def test_an_ideal_schedule_needs_a_slot():
    with pytest.raises(ValueError, match="at least 1"):
        list_schedule_s([1.0], 0)
    assert list_schedule_s([], 3) == 0


def test_a_percentile_is_the_least_sample_that_enough_others_do_not_exceed():
    samples = [float(n) for n in range(1, 101)]
    assert [percentile(samples, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert math.isnan(percentile([], 0.5))


def test_a_percentile_is_shown_only_where_the_count_supports_it():
    assert not supported(999, 0.99)
    assert supported(1000, 0.99)
    assert summary([1.0] * 999).p99 is None
    assert summary([1.0] * 1000).p99 == 1.0
    assert summary([1.0] * 19).p50 is None  # of the median too
    assert summary([1.0] * 20).p50 == 1.0
    assert (summary([1.0] * 19).text("p50"), summary([]).text("p50")) == ("< 10", "-")
    assert msgspec.to_builtins(summary([])) == {"count": 0}


@pytest.mark.parametrize("text", ["", "5x", "-1s", "0", "1m30"])
def test_a_bad_duration_is_refused_by_the_name_of_its_flag(text):
    with pytest.raises(UsageError, match=r"^--warmup: .*(duration|above 0|unit)"):
        duration_s(text, "--warmup")


def test_a_bad_rate_or_size_is_refused_by_the_name_of_its_flag():
    with pytest.raises(UsageError, match=r"^--rate: '5/x' is not a rate"):
        rate_per_s("5/x", "--rate")
    with pytest.raises(UsageError, match=r"^--size: '1GB2' is not a size"):
        size_bytes("1GB2", "--size")
    with pytest.raises(UsageError, match=r"^--size: '1GiB' is too large; at most 64MiB"):
        size_bytes("1GiB", "--size")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000812, "812 us"),
        (0.0042, "4.20 ms"),
        (0.504, "504 ms"),
        (2.5, "2.50 s"),
        (59.96, "60.0 s"),
        (0.99999, "1.00 s"),
        (150, "2m30s"),
        (-150, "-2m30s"),
        (-3600, "-60m00s"),
        (-2.5, "-2.50 s"),
        (math.inf, "-"),
        (math.nan, "-"),
    ],
)
def test_durations_are_shown_with_three_digits(seconds, text):
    assert show_s(seconds) == text


def a_ledger(count: int = 3) -> Ledger:
    ledger = Ledger(["a", "b"])
    numbers = ledger.add([0, 1, 0][:count], [100.0, 100.1, 100.2][:count], 100.25)
    ledger.confirm(numbers, 100.26)
    return ledger


def test_the_ledger_books_a_completion():
    ledger = a_ledger()
    ledger.record(b"1 succeeded 100.5 101.5 w1 0 0 101.6")
    assert ledger.by_outcome[SUCCEEDED] == ledger.done == 1
    assert ledger.open_numbers() == [0, 2]
    samples = collect(ledger)[0]["b"]
    assert samples.wait[0] == pytest.approx(0.4)
    assert samples.service[0] == pytest.approx(1.0)
    assert samples.e2e[0] == pytest.approx(1.5)
    assert samples.e2e_raw[0] == pytest.approx(1.35)
    assert samples.send_lag[0] == pytest.approx(0.16)


def test_a_second_execution_is_a_duplicate_and_the_first_one_counts():
    ledger = a_ledger()
    ledger.record(b"0 succeeded 100.5 101 w1 0 0 101")
    ledger.record(b"0 failed 102 103 w2 0 0 103")
    assert (ledger.done, ledger.duplicates, ledger.by_outcome[FAILED]) == (1, 1, 0)


def test_an_execution_without_its_claim_does_not_finish_a_task_that_another_still_runs():
    ledger = a_ledger()
    ledger.record(b"0 succeeded 100.5 101 w1 0 1 101")
    assert (ledger.done, ledger.lost_claims) == (0, 1)
    ledger.record(b"0 succeeded 102 103 w2 0 0 103")
    assert (ledger.done, ledger.duplicates) == (1, 1)
    assert ledger.accept_lost_claims() == 0


def test_released_and_retried_are_not_ends():
    ledger = a_ledger()
    ledger.record(b"0 released 100.5 101 w1 0 0 101")
    ledger.record(b"1 retried 100.5 101 w1 0 0 101")
    assert (ledger.done, ledger.interrupted, ledger.retried) == (0, 1, 1)


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"9 succeeded 1 2 w 0 0 3", b"-1 succeeded 1 2 w 0 0 3", b"0 succeeded a b"]
)
def test_a_strange_record_is_counted_and_changes_nothing(raw):
    ledger = a_ledger()
    ledger.record(raw)
    assert (ledger.foreign, ledger.done) == (1, 0)


def test_a_refused_push_is_no_task():
    ledger = a_ledger()
    ledger.refuse(range(1, 3))
    assert (ledger.sent_count, ledger.open_numbers()) == (1, [0])


def test_a_value_at_or_below_zero_is_kept_and_counted():
    ledger = a_ledger()
    ledger.record(b"0 succeeded 99.9 101 w1 0 0 101")
    samples = collect(ledger)[0]["all"]
    assert samples.anomalies == 1
    assert samples.wait[0] == pytest.approx(-0.1)


def test_what_failed_is_in_series_of_its_own():
    ledger = a_ledger()
    ledger.record(b"0 succeeded 100.5 101.5 w1 0 0 101.5")
    ledger.record(b"1 failed 100.5 100.501 w1 0 0 100.501")
    ledger.record(b"2 dead 100.5 100.502 w1 0 0 100.502")
    succeeded, failed = collect(ledger)
    assert list(succeeded["all"].service) == [pytest.approx(1.0)]
    assert list(failed["all"].service) == [pytest.approx(0.002), pytest.approx(0.001)]
    assert len(succeeded["all"].send_lag) == 3  # of the generator, whatever became of the task


def test_the_timeline_counts_each_second_and_spreads_running_tasks_over_it():
    ledger = a_ledger()
    ledger.record(b"0 succeeded 100.5 102.25 w1 0 0 102.3")
    ledger.record(b"1 failed 100.25 100.5 w1 0 0 100.5")
    record = SimpleNamespace(ledger=ledger, started=100.0, views=[], away=[])
    rows = timeline(record)
    assert [row.sent for row in rows] == [3, 0, 0]
    assert [row.done for row in rows] == [0, 0, 1]
    assert [row.failed for row in rows] == [1, 0, 0]
    assert [row.busy_slots for row in rows] == [0.75, 1.0, 0.25]
    assert [row.offered for row in rows] == [3, 0, 0]


def test_histograms_merge_without_losing_a_count():
    rng = random.Random(1)
    parts = [[rng.expovariate(20) for _ in range(2000)] for _ in range(2)]
    whole = merge(encode(part) for part in parts)
    ordered = sorted(parts[0] + parts[1])
    assert whole.get_total_count() == 4000
    expected = percentile(ordered, 0.99)
    assert whole.get_value_at_percentile(99) / 1e6 == pytest.approx(expected, rel=0.002)


def test_booking_a_record_costs_little_more_than_taking_it_apart():
    """Both are measured here and now, as CPU time: a busy machine slows them alike."""
    ledger = Ledger(["a"])
    ledger.add([0] * 20_000, [100.0] * 20_000, 100.0)
    raws = [b"%d succeeded 100.512345 101.512345 wabc 0 0 101.512399" % n for n in range(20_000)]

    def take_apart(raw):
        return [float(part) for part in raw.split()[2:4]], raw.decode().split()

    def cpu_s(call):
        before = time.thread_time()
        for raw in raws:
            call(raw)
        return time.thread_time() - before

    plain_s = min(cpu_s(take_apart) for _ in range(3))
    assert min(cpu_s(ledger.record) for _ in range(3)) < 8 * plain_s


def test_the_turnaround_of_a_slot_and_the_pick_up_by_a_free_one_are_told_apart():
    ledger = Ledger(["a"])
    for number, (sent, start, end) in enumerate(
        [(0.0, 0.002, 1.0), (0.5, 1.003, 2.0), (5.0, 5.002, 6.0), (9.0, 19.0, 20.0)]
    ):
        ledger.confirm(ledger.add([0], [sent], sent), sent + 0.0001)
        ledger.record(f"{number} succeeded {start} {end} w 0 0 {end}".encode())
    costs = slot_costs(ledger, 1)
    assert costs.turnaround_s == pytest.approx(0.003)
    assert costs.pickup_s == pytest.approx(0.0019)  # less the way to the queue
    assert costs.lag_s == pytest.approx(0.0001)
    assert slot_costs(ledger, 0) == SlotCosts(lag_s=costs.lag_s)


def test_what_a_slot_costs_in_the_warm_up_is_left_out():
    ledger = Ledger(["a"])
    for number, pause in enumerate([0.05] * 10 + [0.001] * 10):
        start = number * 0.1 + pause
        ledger.confirm(ledger.add([0], [-1.0 - pause], -1.0), -1.0)
        ledger.record(f"{number} succeeded {start} {number * 0.1 + 0.1} w 0 0 {start}".encode())
    costs = slot_costs(ledger, 1, first=10)
    assert costs.turnaround_s == pytest.approx(0.001)
    assert costs.lag_s == pytest.approx(0.001)


def test_the_usual_cost_of_a_slot_knows_its_slow_turns_and_forgets_a_pause():
    ledger = Ledger(["a"])
    free = 0.0
    for number in range(400):  # all wait from the start: only turnarounds
        start = free + (0.090 if number == 200 else 0.002 if number % 4 else 0.006)
        free = start + 0.01
        ledger.confirm(ledger.add([0], [-1.0], -1.0), -1.0)
        ledger.record(f"{number} succeeded {start} {free} w 0 0 {free}".encode())
    assert slot_costs(ledger, 1).turnaround_s == pytest.approx(0.003, rel=0.03)


def test_the_cpu_of_a_task_is_what_the_workers_say_between_two_of_their_words():
    ledger = Ledger(["a"])
    for number in range(200):  # 10 a second for 20 s
        at = 100 + number / 10
        ledger.confirm(ledger.add([0], [at], at), at)
        ledger.record(f"{number} succeeded {at} {at} w 0 0 {at}".encode())
    views = []
    for tick in range(80):  # a look each 250 ms, two workers that say something new each 5 s
        at = 100 + tick / 4
        workers = [Worker(name, "h", 1, 5, 0, 7 + at // 5 * 0.1, 10**7 + tick) for name in "xy"]
        views.append(SimpleNamespace(at=at, workers=workers))
    cpu_s, memory = worker_use(ledger, views)
    assert cpu_s == pytest.approx(2 * 0.02 / 10, rel=0.05)  # 20 ms a second each, for 10 tasks
    assert memory == 10**7 + 79
    assert worker_use(ledger, views[:30]) == (None, 10**7 + 29)  # only one word that is new
    late_s, _ = worker_use(ledger, views, after=110.0)
    assert late_s is None  # nor are there two after the warm-up
    silent = [SimpleNamespace(at=1.0, workers=[Worker("x", "h", 1, 5, 0)])]
    assert worker_use(ledger, silent) == (None, None)
