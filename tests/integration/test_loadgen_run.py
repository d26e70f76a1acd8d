"""loadgen run: open loop, omission, saturation, expectations, files, Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jsonschema
import pytest
import redis.asyncio
from prometheus_client.parser import text_string_to_metric_families

from taskrig.config.load import load_config
from taskrig.keys import Keys
from taskrig_loadgen.cli import main
from taskrig_loadgen.result.model import PARTS
from taskrig_loadgen.result.store import schema
from taskrig_loadgen.run.barrier import wait_at
from taskrig_loadgen.run.external_observer import NotScraped, scrape
from taskrig_loadgen.run.own_workers import own_worker
from tests.support.fake_worker import FakeWorker
from tests.support.loadgen_command import Loadgen
from tests.support.servers import free_port
from tests.support.stepping_server import SteppingServer
from tests.support.waiting import until_async

KEY = "async_tasks"


@pytest.fixture
def loadgen(redis_url: str, tmp_path: Path) -> Loadgen:
    return Loadgen(redis_url, tmp_path)


async def test_the_load_comes_at_its_own_rate_however_slow_the_worker_is(loadgen):
    async with FakeWorker(loadgen.url, KEY, slots=1, service_s=lambda _: 0.01):
        code, result = await loadgen.result(
            "run", "--mix", "a=3,b=1", "--rate", "200", "--duration", "2s"
        )
    assert code == 0, result["verdict"]
    assert [row["offered"] for row in result["timeline"][:2]] == [200] * 2
    assert result["accounting"]["sent"] == result["accounting"]["succeeded"] == 400
    assert result["series"]["a"]["e2e"]["count"] == 300
    assert result["series"]["all"]["wait"]["max"] > 1.5  # 4 s of work came in 2 s


async def test_a_queue_that_grows_through_the_run_is_called_overloaded(loadgen):
    async with FakeWorker(loadgen.url, KEY, slots=1, service_s=lambda _: 0.01):
        process = await loadgen.start(
            "run", "--mix", "a=1", "--rate", "140", "--duration", "8s", "--json"
        )
        out, _ = await process.communicate()
    verdict = json.loads(out)["verdict"]
    assert verdict["overloaded"]
    assert "percentiles depend on how long it runs" in verdict["reasons"][-1]


async def test_a_failed_expectation_is_99_and_every_file_is_written(loadgen, tmp_path):
    (tmp_path / "load.yaml").write_text(
        "mix: {a: 1}\nrate: 100\nduration: 1s\narrivals: poisson\nexpect: [lost == 0]\n"
    )
    files = ["--out", "r.json", "--html", "r.html", "--csv", "csv", "--junit", "j.xml"]
    async with FakeWorker(loadgen.url, KEY, slots=5):
        code, out, _ = await loadgen(
            "run", "load.yaml", *files, "--markdown", "m.md", "--expect", "e2e.p50 < 1us"
        )
    assert code == 99
    assert "ok   lost == 0" in out
    assert "FAIL e2e.p50 < 1us" in out
    for name in ("r.json", "r.html", "csv/series.csv", "csv/timeline.csv", "j.xml", "m.md"):
        assert (tmp_path / name).stat().st_size > 50
    code, out, _ = await loadgen("report", "r.json", "--expect", "e2e.p50 < 1h")
    assert code == 0
    assert "ok   e2e.p50 < 1h" in out


async def test_a_result_goes_once_into_what_is_no_file(loadgen):
    """As of `--out >(jq .)`."""
    os.mkfifo(loadgen.folder / "pipe")
    reader = os.open(loadgen.folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    async with FakeWorker(loadgen.url, KEY):
        code, _, err = await loadgen("--mix", "a=1", "--out", "pipe")
    assert code == 0, err
    assert json.loads(os.read(reader, 65_536))["accounting"]["succeeded"] == 1
    os.close(reader)


async def test_a_misspelt_expectation_costs_no_run(loadgen, redis_client):
    code, _, err = await loadgen(
        "run", "--mix", "a=1", "--rate", "9", "--duration", "1s", "--expect", "e2ee.p99 < 1s"
    )
    assert code == 2
    assert "no figure is called 'e2ee'" in err
    assert redis_client.llen(KEY) == 0


@pytest.mark.parametrize("command", ["", "run", "drain", "replay", "search", "file"])
def test_a_misspelt_type_in_an_expectation_costs_no_run(command, capsys, tmp_path):
    (tmp_path / "tasks.jsonl").write_text('{"type": "fast_task"}')
    text = "{mix: {fast: 1}, rate: 9, duration: 1s, expect: ['e2e{type=fsat}.p99<1s']}"
    (tmp_path / "load.yaml").write_text(text)
    wrong = "e2e{type=fsat}.p99<1s"
    mix, expect = ["--mix", "fast=1"], ["--expect", wrong]
    lines = {
        "": [*mix, *expect],
        "run": ["run", *mix, "--rate", "9", "--duration", "1s", *expect],
        "drain": ["drain", *mix, *expect],
        "replay": ["replay", str(tmp_path / "tasks.jsonl"), *expect],
        "search": ["search", *mix, "--slo", wrong],
        "file": ["run", str(tmp_path / "load.yaml")],
    }
    url = f"redis://127.0.0.1:{free_port()}"  # nobody is asked
    assert main([*lines[command], "--redis-url", url]) == 2
    assert "this run has no type 'fsat'; it has fast_task" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_ctrl_c_may_first_wait_for_what_was_sent(loadgen, redis_client, number):
    async with FakeWorker(loadgen.url, KEY, slots=50, service_s=lambda _: 0.1):
        process = await loadgen.start(
            "run",
            "--mix",
            "a=1",
            "--rate",
            "300",
            "--duration",
            "60s",
            "--on-interrupt",
            "wait",
            "--json",
        )
        await until_async(
            lambda: redis_client.hget("{async_tasks}:stats", "succeeded"), what="a task done"
        )
        process.send_signal(number)
        out, _ = await process.communicate()
    books = json.loads(out)["accounting"]
    assert process.returncode == 130
    assert books["sent"] == books["succeeded"] > 0


async def test_a_password_on_the_command_line_is_not_in_the_result(server, tmp_path):
    locked = server(appendonly=False, password="sesame")
    code, out, err = await Loadgen(locked.url, tmp_path)(
        "--mix", "fast=1", "--no-follow", "--json", "--set", "redis.password=sesame"
    )
    assert code == 0, err
    assert "sesame" not in out + err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--mix", "a=1"],
        ["--rate", "5", "--duration", "1s"],
        ["--mix", "a=1", "--rate", "5"],
        ["--mix", "a=1", "--rate", "5", "--duration", "1s", "--profile", "1s@5"],
        ["--mix", "a=1", "--rate", "-5", "--duration", "1s"],
        ["--mix", "a=1", "--rate", "0.1", "--duration", "1s"],
        ["--mix", "a=1", "--rate", "5", "--duration", "1s", "--warmup", "2s"],
        ["--mix", "a=1", "--rate", "5", "--duration", "1s", "--size", "big"],
        ["--mix", "a=1", "--rate", "5", "--duration", "1s", "--size", "100000MiB"],
        ["--mix", "a=1", "--rate", "5", "--duration", "1s", "--out", "/nowhere/x/y.json"],
        ["--mix", "a=1", "--rate", "5", "--duration", "1s", "--out", "."],
        ["--mix", "a=1", "--rate", "5", "--duration", "1s", "--out", ""],
        ["nowhere.yaml"],
    ],
)
async def test_bad_arguments_are_one_line_and_2(arguments, capsys):
    assert main(["run", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err


async def test_prometheus_can_follow_a_run(loadgen, redis_client):
    port = free_port()
    async with FakeWorker(loadgen.url, KEY, slots=20):
        process = await loadgen.start(
            "run", "--mix", "a=1", "--rate", "200", "--duration", "60s", "--metrics", str(port)
        )

        def scraped() -> dict[str, float]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as page:
                    families = list(text_string_to_metric_families(page.read().decode()))
            except OSError:
                return {}
            found = {
                f"{s.name}{sorted(s.labels.items())}": s.value for f in families for s in f.samples
            }
            return found if found.get("loadgen_tasks_sent_total[]", 0) > 100 else {}

        found = await until_async(lambda: asyncio.to_thread(scraped), what="100 tasks sent")
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert found["loadgen_offered_rate[]"] == 200
    assert found["loadgen_tasks_offered_total[]"] >= 100
    assert found["loadgen_tasks_done_total[('outcome', 'succeeded')]"] > 0
    assert found["loadgen_send_lag_seconds[('percentile', 'p99')]"] > 0
    assert any(name.startswith("loadgen_run_info") and "sending" in name for name in found)


async def test_from_depths_alone_it_says_when_the_queue_was_empty_and_what_it_cannot_know(loadgen):
    async with FakeWorker(loadgen.url, KEY, slots=2, service_s=lambda _: 0.05):
        code, out, _ = await loadgen("--mix", "a=40", "--observe", "queue", "--out", "r.json")
    result = json.loads((loadgen.folder / "r.json").read_text())
    assert code == 0
    assert "40 gone" in out
    assert "cannot be known from depths alone" in out
    assert 0.7 <= result["outside"]["emptied_s"] < 10  # a busy machine may be later
    assert 0.3 <= result["outside"]["mean_wait_s"] < 10
    assert result["series"]["all"]["wait"]["count"] == 0


async def test_the_metrics_of_a_real_worker_tell_counts_and_means_per_type(loadgen):
    config = load_config(env={}, overrides={"redis.url": loadgen.url})
    port = free_port()
    async with own_worker(config, 5, port=port):
        code, result = await loadgen.result(
            "--mix",
            "fast=3,noop=10",
            "--observe",
            "metrics",
            "--worker-metrics",
            f"http://127.0.0.1:{port}/metrics",
        )
    types = result["outside"]["types"]
    assert code == 0
    assert (types["fast_task"]["succeeded"], types["noop"]["succeeded"]) == (3, 10)
    assert types["fast_task"]["mean_service_s"] == pytest.approx(0.5, abs=0.1)


async def test_a_worker_that_is_gone_by_the_end_costs_its_figures_and_not_the_report(loadgen):
    class OnceThere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.server.server_close()

    with HTTPServer(("127.0.0.1", 0), OnceThere) as worker:
        threading.Thread(target=worker.handle_request).start()
        url = f"http://127.0.0.1:{worker.server_port}/metrics"
        async with FakeWorker(loadgen.url, KEY):
            code, out, _ = await loadgen(
                "--mix", "a=4", "--observe", "metrics", "--worker-metrics", url, "--out", "r.json"
            )
    outside = json.loads((loadgen.folder / "r.json").read_text())["outside"]
    assert code == 0
    assert outside["types"] == {}
    assert f"cannot read the metrics of a worker at {url}" in outside["note"]
    assert "nothing per type" in out


async def test_metrics_that_do_not_answer_are_one_clear_line(loadgen):
    url = f"http://127.0.0.1:{free_port()}/metrics"
    code, _, err = await loadgen("--mix", "a=1", "--observe", "metrics", "--worker-metrics", url)
    assert code == 1
    assert f"cannot read the metrics of a worker at {url}" in err
    code, _, err = await loadgen("--mix", "a=1", "--observe", "metrics")
    assert code == 2


def test_an_address_that_is_none_is_no_metrics_of_a_worker():
    with pytest.raises(NotScraped, match="cannot read the metrics of a worker at http://h:abc/"):
        asyncio.run(scrape(["http://h:abc/"]))


async def test_generators_that_meet_at_a_barrier_start_together(loadgen):
    flags = ["--mix", "a=1", "--rate", "100", "--duration", "1s", "--barrier", "pair:2"]
    async with FakeWorker(loadgen.url, KEY, slots=20):
        both = await asyncio.gather(*(loadgen.result("run", *flags) for _ in range(2)))
        code, _, err = await loadgen("run", *flags)
    starts = [result["started"] for _, result in both]
    assert abs(starts[0] - starts[1]) < 0.1
    assert all(result["accounting"]["succeeded"] == 100 for _, result in both)
    assert code == 2
    assert "have met there already" in err


async def test_ctrl_c_while_it_waits_for_other_generators_ends_at_once(loadgen, redis_client):
    process = await loadgen.start(
        "run", "--mix", "a=1", "--rate", "100", "--duration", "1s", "--barrier", "alone:2", "--json"
    )
    await until_async(lambda: redis_client.keys("*barrier-alone"), what="it waits")
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    assert process.returncode == 130
    assert json.loads(out)["accounting"]["sent"] == 0
    flags = ["--mix", "a=1", "--rate", "100", "--duration", "1s", "--barrier", "alone:2"]
    async with FakeWorker(loadgen.url, KEY, slots=20):  # who gave up has left the barrier
        both = await asyncio.gather(*(loadgen.result("run", *flags) for _ in range(2)))
    assert abs(both[0][1]["started"] - both[1][1]["started"]) < 0.1


async def test_a_redis_that_goes_and_comes_back_costs_no_account(server, tmp_path):
    redis = server()
    loadgen = Loadgen(redis.url, tmp_path)
    config = load_config(env={}, overrides={"redis.url": redis.url})
    async with own_worker(config, 10):
        process = await loadgen.start(
            "run", "--mix", "noop=1", "--rate", "200", "--duration", "4s", "--json"
        )
        with redis.client() as client:
            done = "{async_tasks}:stats", "succeeded"
            await until_async(lambda: int(client.hget(*done) or 0) > 100, what="100 tasks done")
        await asyncio.to_thread(redis.stop)
        await asyncio.sleep(1.2)  # a line a second is said, also of this second
        await asyncio.to_thread(redis.start)
        out, err = await process.communicate()
    result = json.loads(out)
    books = result["accounting"]
    assert process.returncode == 5
    assert len(result["away"]) == 1
    assert result["outages"] == result["away"][0]["looks"] > 0
    assert "Redis was away for" in result["verdict"]["reasons"][0]
    assert not (result["verdict"]["saturated"] or result["verdict"]["overloaded"])
    assert b"REDIS IS AWAY" in err
    assert books["sent"] + books["never_arrived"] == 800, err
    assert books["succeeded"] == books["sent"]
    assert (books["lost"], books["refused"]) == (0, 0)
    assert books["never_arrived"] <= books["unconfirmed"]


async def test_a_server_clock_that_is_set_and_set_back_in_a_run_is_4(tmp_path):
    own = SteppingServer(tmp_path / "stepping")
    own.start()
    try:
        async with FakeWorker(own.url, KEY, slots=5, service_s=lambda _: 0.01):
            flags = ["--mix", "a=1", "--rate", "20", "--duration", "4s", "--json"]
            running = asyncio.create_task(Loadgen(own.url, tmp_path)("run", *flags))
            with own.client() as client:
                await until_async(lambda: client.keys("*:run:*"), what="it runs")
            own.set_clock(30)
            await asyncio.sleep(1)
            own.set_clock(0)
            code, out, err = await running
    finally:
        own.close()
    verdict = json.loads(out)["verdict"]
    assert code == verdict["exit_code"] == 4, err
    assert any(text.startswith("the server's clock moved by 30") for text in verdict["reasons"])


async def test_a_generator_that_gives_up_as_the_last_one_comes_starts_with_it(redis_url):
    """Whoever left then would have let the last one start alone."""
    client = redis.asyncio.Redis.from_url(redis_url)
    keys = Keys.of(KEY)

    async def come(by: object, timeout_s: float) -> float:
        return await wait_at(by, keys, "close", 2, timeout_s=timeout_s, stopped=lambda: False)

    class LastComesAfterALook:
        """The client of the one that gives up: it has looked, the last one comes, it leaves."""

        last: asyncio.Task[float]

        def __getattr__(self, name: str) -> object:
            return getattr(client, name)

        async def lrange(self, *args: object) -> object:
            found = await client.lrange(*args)
            self.last = asyncio.create_task(come(client, 20.0))
            await asyncio.wait([self.last], timeout=20)
            return found

    try:
        gives_up = LastComesAfterALook()
        assert await come(gives_up, timeout_s=-1.0) == await gives_up.last
    finally:
        await client.aclose()


async def test_several_queues_get_their_shares_and_are_reported_as_one(loadgen, redis_client):
    async with FakeWorker(loadgen.url, "a", slots=5), FakeWorker(loadgen.url, "b", slots=5):
        _, result = await loadgen.result(
            "run", "--mix", "x=1", "--rate", "200", "--duration", "1s", "--queues", "a=3,b=1"
        )
    assert result["queue"] == "a, b"
    assert result["accounting"]["sent"] == result["accounting"]["succeeded"] == 200
    assert int(redis_client.hget("{a}:stats", "succeeded")) == 150
    assert result["totals"]["concurrency"] == 10


async def test_queues_with_equal_shares_get_exactly_the_tasks_of_the_run_together(loadgen):
    async with (
        FakeWorker(loadgen.url, "a", slots=5),
        FakeWorker(loadgen.url, "b", slots=5),
        FakeWorker(loadgen.url, "c", slots=5),
    ):
        flags = ["--rate", "100", "--duration", "1s", "--queues", "a=1,b=1,c=1"]
        _, result = await loadgen.result("run", "--mix", "x=1", *flags)
    assert result["accounting"]["sent"] == 100


@pytest.mark.parametrize("queues", ["", "a", "a=0", "a=1,a=2", "=1", "a=x"])
def test_bad_queues_are_refused(queues):
    from taskrig.errors import UsageError
    from taskrig_loadgen.cli.run import parse_queues

    with pytest.raises(UsageError, match="--queues"):
        parse_queues(queues)


async def test_a_paused_queue_is_said_at_once(loadgen, worker_paused):
    _, _, err = await loadgen("--mix", "a=1", "--drain-timeout", "1s")
    assert "'async_tasks' is paused" in err


@pytest.fixture
async def worker_paused(loadgen, redis_client):
    redis_client.set("{async_tasks}:paused", "1")
    async with FakeWorker(loadgen.url, KEY):
        yield


def adds_up(books: dict[str, int]) -> bool:
    return books["sent"] == sum(books[part] for part in PARTS)


@pytest.mark.parametrize(
    "load",
    [["run", "--mix", "a=1", "--rate", "500", "--duration", "4s"], ["--mix", "a=3000000"]],
    ids=["on a schedule", "all at once"],
)
async def test_a_redis_that_dies_for_good_ends_a_run_with_a_report(server, tmp_path, load):
    redis = server(appendonly=False)
    loadgen = Loadgen(redis.url, tmp_path)
    process = await loadgen.start(
        *load, "--drain-timeout", "500ms", "--json", "--html", str(tmp_path / "r.html")
    )
    with redis.client() as client:
        await until_async(lambda: client.llen(KEY) > 0, 30, "tasks are sent")
    await asyncio.to_thread(redis.kill)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    result = json.loads(out)
    books = result["accounting"]
    assert process.returncode == 5, err
    assert adds_up(books)
    assert books["unknown"] == books["sent"] > 0
    assert (books["lost"], books["unsent"] > 0) == (0, True)
    assert "could not be looked for at the end: Redis at" in result["verdict"]["reasons"][0]
    jsonschema.validate(result, schema())
    assert "could not be looked for at the end" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
async def test_ctrl_c_while_redis_does_not_answer_is_130_with_a_report(times, server, tmp_path):
    redis = server(appendonly=False)
    loadgen = Loadgen(redis.url, tmp_path)
    process = await loadgen.start(
        "run",
        "--mix",
        "a=1",
        "--rate",
        "500",
        "--duration",
        "60s",
        "--size",
        "10KB",
        "--out",
        "r.json",
        "--markdown",
        "r.md",
    )
    with redis.client() as client:
        await until_async(lambda: client.llen(KEY) > 100, what="tasks are sent")
    redis.pause()
    began = time.monotonic()
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        async for line in process.stderr:
            if b"interrupted:" in line:
                break
    async with asyncio.timeout(10):
        out, err = await process.communicate()
    took_s = time.monotonic() - began
    books = json.loads((tmp_path / "r.json").read_text())["accounting"]
    assert process.returncode == 130, err
    assert took_s < (5 if times == 1 else 1.8)
    assert adds_up(books)
    assert books["unknown"] == books["sent"] >= books["unconfirmed"]
    assert b"could not be looked for" in out
    assert "could not be looked for" in (tmp_path / "r.md").read_text()
    redis.resume()
