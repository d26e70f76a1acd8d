"""drain, sweep, plan and search, with a fake worker where behaviour must be known, else real."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from taskrig.keys import Keys
from taskrig_loadgen.analysis.expectations import parse_expectation
from taskrig_loadgen.analysis.planner import figure_s, with_slots
from taskrig_loadgen.analysis.prediction import (
    calibration_of,
    predicted,
    queue_from,
    service_samples,
)
from tests.support.fake_worker import FakeWorker
from tests.support.loadgen_command import Loadgen
from tests.support.results import typed
from tests.support.waiting import until_async

KEY = "async_tasks"


@pytest.fixture
def loadgen(redis_url: str, tmp_path: Path) -> Loadgen:
    return Loadgen(redis_url, tmp_path)


async def test_a_backlog_is_built_while_paused_and_then_drained(loadgen, redis_client):
    async with FakeWorker(loadgen.url, KEY, slots=10, service_s=lambda _: 0.005):
        code, result = await loadgen.result("drain", "--backlog", "600", "--mix", "a=2,b=1")
    totals = result["totals"]
    assert code == 0
    assert result["accounting"]["succeeded"] == 600
    assert max(row["waiting"] for row in result["timeline"]) <= 600
    assert totals["drain_s"] >= 0.3  # 600 of 5 ms on 10 slots
    assert totals["drained_per_s"] == pytest.approx(600 / totals["drain_s"])
    assert not redis_client.exists(Keys.of(KEY).paused)


async def test_a_queue_that_somebody_paused_is_left_paused(loadgen, redis_client):
    redis_client.set(Keys.of(KEY).paused, "by hand")
    code, _, err = await loadgen("drain", "--backlog", "10")
    assert code == 2
    assert f"pausing '{KEY}' until the backlog is there: no task of any type starts" in err
    assert "paused already" in err
    assert redis_client.get(Keys.of(KEY).paused) == b"by hand"
    assert redis_client.llen(KEY) == 0


async def test_a_pause_by_an_operator_while_it_drains_is_not_undone(loadgen, redis_client):
    keys = Keys.of(KEY)
    async with FakeWorker(loadgen.url, KEY, slots=5, service_s=lambda _: 0.01):
        process = await loadgen.start("drain", "--backlog", "1000", "--drain-timeout", "500ms")
        await until_async(lambda: redis_client.hget(keys.stats, "succeeded"), what="it drains")
        redis_client.set(keys.paused, "by hand")
        await process.communicate()
    assert redis_client.get(keys.paused) == b"by hand"


async def test_the_pause_of_a_drain_ends_by_itself_should_loadgen_be_killed(loadgen, redis_client):
    process = await loadgen.start("drain", "--backlog", "1000000")
    await until_async(lambda: redis_client.llen(KEY) > 0, what="the backlog grows")
    assert 0 < redis_client.ttl(Keys.of(KEY).paused) <= 900
    process.kill()
    await process.communicate()


async def test_a_sweep_starts_real_workers_and_leaves_nothing_behind(
    loadgen, redis_client, tmp_path
):
    code, out, err = await loadgen(
        "sweep", "--mix", "fast=2", "--concurrency", "1,2", "--html", "s.html", "--json"
    )
    assert code == 0, err
    points = json.loads(out)["points"]
    assert [p["concurrency"] for p in points] == [1, 2]
    assert [p["ideal_s"] for p in points] == [1.0, 0.5]
    one, two = (p["makespan_s"] for p in points)
    assert one >= 1.0 and 0.5 <= two < one
    assert "<svg" in (tmp_path / "s.html").read_text()
    assert redis_client.keys("*:sweep:*") == []


async def test_a_sweep_whose_worker_cannot_start_says_why(loadgen, redis_client):
    code, _, err = await loadgen(
        "sweep", "--mix", "fast=1", "--concurrency", "1", "--set", "handlers=[no.such.module]"
    )
    assert code == 1
    assert "no.such.module" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("slots", ["", "0", "-1", "x", "1,1", "1,,2", "1.5", "99999"])
def test_a_bad_list_of_concurrencies_is_refused(slots, capsys):
    from taskrig_loadgen.cli import main

    assert main(["sweep", "--concurrency", slots]) == 2
    assert capsys.readouterr().err.count("\n") == 1


async def test_a_plan_is_made_from_a_run_without_a_redis(loadgen, tmp_path):
    async with FakeWorker(loadgen.url, KEY, slots=10, service_s=lambda _: 0.02):
        code, _, err = await loadgen(
            "run",
            "--mix",
            "a=1",
            "--rate",
            "250",
            "--duration",
            "2s",
            "--arrivals",
            "poisson",
            "--out",
            "run.json",
        )
    assert (tmp_path / "run.json").exists(), err
    result = json.loads((tmp_path / "run.json").read_text())
    known = calibration_of(typed(result))
    queue = queue_from(known, rate=2000, slots=10, arrivals="poisson")
    assert queue.service_s >= result["series"]["all"]["service"]["mean"] >= 0.02
    code, out, _ = await loadgen(
        "plan", "--from", "run.json", "--rate", "2000", "--slo", "wait.p99<500ms", "--json"
    )
    plan = json.loads(out)
    assert code == 0
    (row,) = (row for row in plan["rows"] if row["per_worker"] == 10)
    # 40 slots for 20 ms; how many more, only this run of this machine can say.
    slo, services = parse_expectation("wait.p99<500ms"), service_samples(known)
    assert plan["least_slots"] > queue.load >= 40
    assert figure_s(with_slots(queue, plan["least_slots"]), slo, services) < 0.5
    assert figure_s(with_slots(queue, plan["least_slots"] - 1), slo, services) >= 0.5
    assert row["slots"] == 10 * row["workers"] > plan["least_slots"]
    assert "measured at 250/s" in plan["warnings"][0] or "measured at 2" in plan["warnings"][0]
    code, out, _ = await loadgen("plan", "--from", "run.json", "--rate", "2000", "--html", "p.html")
    assert "KEDA: minReplicaCount" in out
    assert "<svg" in (tmp_path / "p.html").read_text()
    code, _, err = await loadgen("plan", "--from", "run.json", "--rate", "9", "--slo", "lost == 0")
    assert code == 2


async def test_a_prediction_is_made_before_the_run_and_cannot_know_what_it_measures(loadgen):
    """The handlers become six times as slow as soon as the calibration is over."""
    service_s = 0.01
    async with FakeWorker(loadgen.url, KEY, slots=4, service_s=lambda _: service_s):
        process = await loadgen.start(
            "run", "--mix", "a=1", "--rate", "100", "--duration", "2s", "--calibrate", "--json"
        )
        assert process.stderr is not None
        async for line in process.stderr:
            if line.strip().startswith(b"calibrated with"):
                break
        service_s = 0.06
        out, _ = await process.communicate()
    result = json.loads(out)
    forecast = predicted(typed(result))
    assert result["series"]["all"]["service"]["mean"] >= 0.05
    assert forecast.service_s == result["calibration"]["service"]["mean"] < 0.05
    mean = forecast.rows[0]
    assert mean.predicted_s < 0.2 < mean.measured_s  # 1.5 s of work came each second


async def test_ctrl_c_in_a_calibration_reports_that_and_starts_no_run(loadgen, redis_client):
    async with FakeWorker(loadgen.url, KEY, slots=4, service_s=lambda _: 0.05):
        process = await loadgen.start(
            "run", "--mix", "a=1", "--rate", "10", "--duration", "2s", "--calibrate", "--json"
        )
        assert process.stderr is not None
        async for line in process.stderr:
            if line.strip().startswith(b"calibrating"):
                break
        await until_async(lambda: redis_client.keys("*:run:*"), what="it sends")
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    result = json.loads(out)
    assert process.returncode == 130
    assert result["kind"] == "calibration"
    assert result["interrupted"]


@pytest.mark.parametrize(
    "other", [["--queues", "a=1,b=1"], ["--barrier", "x:2"], ["--observe", "queue"]]
)
def test_a_calibration_of_what_it_cannot_measure_is_refused(other, capsys):
    from taskrig_loadgen.cli import main

    arguments = ["run", "--mix", "a=1", "--rate", "9", "--duration", "1s", "--calibrate", *other]
    assert main(arguments) == 2
    assert "--calibrate needs one queue" in capsys.readouterr().err


async def test_a_calibration_is_of_the_queue_that_the_run_is_for(loadgen):
    flags = ["--rate", "9", "--duration", "1s", "--calibrate", "--queues", "other=1"]
    code, _, err = await loadgen("run", "--mix", "a=1", *flags)
    assert code == 2
    assert "no live worker on 'other'" in err


async def test_the_probe_before_a_run_with_a_warm_up_is_long_enough_at_once(loadgen, redis_client):
    """Eight tasks for each slot take over a second: more of them would tell nothing new."""
    flags = ["--rate", "5", "--duration", "2s", "--warmup", "1s", "--calibrate"]
    async with FakeWorker(loadgen.url, KEY, slots=40, service_s=lambda _: 0.4):
        process = await loadgen.start("run", "--mix", "a=1", *flags)
        assert process.stderr is not None
        async for line in process.stderr:
            if line.strip().startswith(b"calibrating"):
                break
        pushed = int(redis_client.hget(Keys.of(KEY).stats, "succeeded"))
        process.kill()
        await process.wait()
    assert pushed == 320


async def test_a_search_without_a_worker_says_so(loadgen):
    code, _, err = await loadgen("search", "--mix", "a=1", "--slo", "wait.p99<100ms")
    assert code == 2
    assert "no live worker" in err


async def test_ctrl_c_in_a_search_leaves_what_it_was_doing(loadgen, redis_client, tmp_path):
    async with FakeWorker(loadgen.url, KEY, slots=4, service_s=lambda _: 0.05):
        process = await loadgen.start(
            "search", "--mix", "a=1", "--slo", "wait.p50<1s", "--out", "r.json"
        )
        await until_async(lambda: redis_client.keys("*:run:*"), what="it sends")
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130, err
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["kind"] == "search"
    assert result["interrupted"]
    assert b"interrupted" in out


async def test_a_sweep_ended_while_a_worker_starts_keeps_its_points_and_leaves_no_worker(
    loadgen, redis_client, tmp_path
):
    process = await loadgen.start(
        "sweep", "--mix", "fast=1", "--concurrency", "1,2", "--out", "s.json"
    )
    assert process.stderr is not None
    async for line in process.stderr:
        if line.startswith(b"2 slots"):
            break
    process.send_signal(signal.SIGTERM)
    _, err = await process.communicate()
    assert process.returncode == 130, err
    sweep = json.loads((tmp_path / "s.json").read_text())
    assert [point["concurrency"] for point in sweep["points"]] == [1]
    assert redis_client.keys("*:sweep:*") == []
