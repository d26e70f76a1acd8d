"""Merging results: nothing is lost, nothing invented."""

from __future__ import annotations

import json

import jsonschema
import pytest
from msgspec.structs import replace

from taskrig.errors import UsageError
from taskrig_loadgen.cli import main
from taskrig_loadgen.result.merging import merge
from taskrig_loadgen.result.model import Away, Outside, Result
from taskrig_loadgen.result.store import save, schema, to_json
from taskrig_loadgen.run.barrier import parse_barrier
from tests.support.results import a_result


def two() -> list[Result]:
    pair = [a_result(rate=100, count=400), a_result(rate=100, count=800)]
    for number, result in enumerate(pair):
        result.run_id = f"r{number}"
    return pair


def test_counts_rates_and_seconds_are_added():
    whole = merge(two())
    assert whole.accounting.sent == whole.accounting.succeeded == 1200
    assert whole.totals.offered_per_s == pytest.approx(200)
    assert [row.offered for row in whole.timeline[:8]] == [200] * 4 + [100] * 4
    assert whole.workload.profile == "4s@100 + 8s@100"
    assert whole.verdict.complete
    jsonschema.validate(json.loads(to_json(whole)), schema())


def test_figures_are_those_of_all_tasks_together():
    pair = two()
    first = pair[0].overall.wait
    first.mean, first.stddev = 0.02, 0.0
    wait = merge(pair).overall.wait
    assert wait.count == 1200
    assert wait.mean == pytest.approx((400 * 0.02 + 800 * 0.01) / 1200)
    assert wait.p99 == pytest.approx(0.01, rel=0.002)


def test_unlike_runs_and_the_same_run_twice_are_refused():
    pair = two()
    with pytest.raises(UsageError, match="twice"):
        merge([pair[0], pair[0]])
    with pytest.raises(UsageError, match="two results"):
        merge(pair[:1])
    del pair[1].series["b"]
    with pytest.raises(UsageError, match="different types"):
        merge(pair)
    pair[1].kind = "drain"
    with pytest.raises(UsageError, match="kind is 'drain'"):
        merge(pair)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"started": 1005.0}, "started 5.0 s apart"),
        ({"arrivals": "poisson"}, "arrivals is 'poisson' and 'uniform'"),
        ({"profile": "4s@200"}, "profile is '4s@200'"),
        ({"warmup_s": 1.0}, "warmup_s is 1.0"),
        ({"data_bytes": {"a": 9, "b": 2}}, "data_bytes is"),
        ({"mix": {"a": 1, "b": 3}}, "mix is"),
        ({"order": "shuffled"}, "order is 'shuffled' and 'smooth'"),
    ],
)
def test_generators_that_did_not_start_together_or_sent_otherwise_are_refused(
    change, why, tmp_path, capsys
):
    pair = [a_result(rate=100), a_result(rate=100)]
    pair[1].run_id = "other"
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, result in zip(paths, pair, strict=True):
        result.expectations = []
        save(result, path)
    assert main(["merge", *map(str, paths)]) == 0
    for name, value in change.items():
        setattr(pair[1] if name == "started" else pair[1].workload, name, value)
    save(pair[1], paths[1])
    assert main(["merge", *map(str, paths)]) == 2
    assert why in capsys.readouterr().err


def test_outages_and_failures_of_all_generators_are_in_the_whole():
    away = Away(at_s=1.0, length_s=1.0, looks=3)
    pair = [
        a_result(rate=100, failed=0.5, away=[away], warmup_s=1.0),
        a_result(rate=100, away=[replace(away, at_s=1.5)], warmup_s=1.0),
    ]
    pair[1].run_id = "other"
    whole = merge(pair)
    assert whole.away == [Away(at_s=1.0, length_s=1.5, looks=6)]  # one, seen by both
    assert whole.failed_series["all"].e2e.count == 150
    assert whole.overall.e2e.count == 450
    assert whole.overall.e2e.p95 <= whole.overall.e2e.max
    assert whole.left_out.counts["sent"] == 200
    assert whole.totals.done_per_s == pytest.approx(450 / whole.totals.makespan_s, rel=0.01)


def test_the_workers_of_one_queue_are_counted_once_and_those_of_two_are_added():
    pair = two()
    assert merge(pair).totals.concurrency == 5
    pair[1].queue = "other"
    whole = merge(pair)
    assert whole.totals.concurrency == 10
    assert whole.queue.endswith(", other")


def test_depths_of_one_queue_are_seen_by_all_and_those_of_two_are_added():
    pair = two()
    for result in pair:
        for row in result.timeline:
            row.waiting, row.in_flight, row.concurrency = 100 * row.second, 4, 4
            row.busy_slots = 4.0
    shared = merge(pair).timeline[2]
    assert (shared.waiting, shared.in_flight, shared.concurrency) == (200, 4, 4)
    pair[1].queue = "other"
    row = merge(pair).timeline[2]
    assert (row.waiting, row.in_flight, row.concurrency) == (400, 8, 8)
    assert row.busy_slots == row.concurrency


def test_what_was_seen_from_outside_is_told_of_all_queues():
    pair = two()
    for result, emptied_s in zip(pair, (2.0, 3.0), strict=True):
        types = {"a": {"succeeded": 100 * emptied_s, "mean_service_s": 0.1}}
        result.outside = Outside(
            mode="queue", cannot="x", emptied_s=emptied_s, mean_wait_s=emptied_s, types=types
        )
    pair[1].queue = "other"
    seen = merge(pair).outside
    assert seen.emptied_s == 3.0
    assert seen.mean_wait_s == pytest.approx((400 * 2 + 800 * 3) / 1200)
    assert seen.types["a"]["succeeded"] == 300  # each has read the same workers
    pair[0].outside.emptied_s = None
    assert merge(pair).outside.emptied_s is None


@pytest.mark.parametrize("text", ["", "x", "x:", "x:0", ":2", "a b:2", "x:-1"])
def test_a_bad_barrier_is_refused(text):
    with pytest.raises(UsageError, match="--barrier"):
        parse_barrier(text)
