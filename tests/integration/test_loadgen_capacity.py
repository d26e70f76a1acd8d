"""drain, sweep, plan and search, with a fake worker where behaviour must be known, else real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadgen.forecast import queue_of
from tests.support.fake_worker import FakeWorker
from tests.support.loadgen_command import Loadgen
from worker.keys import Keys

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
    assert "paused already" in err
    assert redis_client.get(Keys.of(KEY).paused) == b"by hand"
    assert redis_client.llen(KEY) == 0


async def test_the_pause_of_a_drain_ends_by_itself_should_loadgen_be_killed(loadgen, redis_client):
    process = await loadgen.start("drain", "--backlog", "1000000")
    from tests.support.waiting import until_async

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
    assert 1.0 <= points[0]["makespan_s"] < 1.5
    assert 0.5 <= points[1]["makespan_s"] < 0.95
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
    from loadgen.cli import main

    assert main(["sweep", "--concurrency", slots]) == 2
    assert capsys.readouterr().err.count("\n") == 1


async def test_a_plan_is_made_from_a_run_without_a_redis(loadgen, tmp_path):
    async with FakeWorker(loadgen.url, KEY, slots=10, service_s=lambda _: 0.02):
        code, _, err = await loadgen(
            "run", "--mix", "a=1", "--rate", "250", "--duration", "2s", "--arrivals", "poisson",
            "--out", "run.json",
        )  # fmt: skip
    assert (tmp_path / "run.json").exists(), err
    queue = queue_of(json.loads((tmp_path / "run.json").read_text()))
    assert queue.slots == 10
    code, out, _ = await loadgen(
        "plan", "--from", "run.json", "--rate", "2000", "--slo", "wait.p99<50ms", "--json"
    )
    plan = json.loads(out)
    assert code == 0
    assert plan["per_worker"] == 10
    busy = 2000 * queue.service_s  # 40 slots for 20 ms; more where the machine was slower
    assert busy >= 40
    assert busy < plan["slots"] <= 1.5 * busy + 2
    assert plan["workers"] == -(-plan["slots"] // 10)
    code, out, _ = await loadgen("plan", "--from", "run.json", "--rate", "2000")
    assert "KEDA target" in out
    code, _, err = await loadgen("plan", "--from", "run.json", "--rate", "9", "--slo", "lost == 0")
    assert code == 2


async def test_a_search_ends_by_itself_and_its_hold_passes(loadgen):
    async with FakeWorker(loadgen.url, KEY, slots=4, service_s=lambda _: 0.02):
        code, result = await loadgen.result(
            "search",
            "--mix",
            "a=1",
            "--slo",
            "wait.p50<100ms",
            "--trial",
            "3s",
            "--hold",
            "3s",
            "--from-rate",
            "150",
            "--precision",
            "20%",
        )
    rate = result["totals"]["offered_per_s"]
    assert code in (0, 4)  # 4: this machine was too busy to send on time
    assert result["expectations"][0]["ok"]
    assert 60 < rate < 230  # four slots of 20 ms do at most 200/s


async def test_a_search_without_a_worker_says_so(loadgen):
    code, _, err = await loadgen("search", "--mix", "a=1", "--slo", "wait.p99<100ms")
    assert code == 2
    assert "no live worker" in err
