"""The bare command, add, clear and monitor: real Redis, and a worker of known behaviour."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from taskrig.keys import Keys
from taskrig_loadgen.cli import main
from tests.support.fake_worker import FakeWorker
from tests.support.loadgen_command import Loadgen
from tests.support.waiting import until_async

KEY = "async_tasks"
TENTH = {
    "fast_task": 0.05,
    "medium_task": 0.1,
    "slow_task": 0.2,
}  # the card's mix, ten times faster


@pytest.fixture
def loadgen(redis_url: str, tmp_path: Path) -> Loadgen:
    return Loadgen(redis_url, tmp_path)


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[FakeWorker]:
    async with FakeWorker(redis_url, KEY, slots=5, service_s=lambda t: TENTH.get(t, 0)) as one:
        yield one


async def test_the_cards_mix_is_pushed_once_followed_and_reported(loadgen, worker):
    code, out, _ = await loadgen("--mix", "fast=3,medium=2,slow=2")
    assert code == 0
    assert "7 sent = 7 succeeded + 0 failed + 0 lost" in out
    assert "serial 7.50 s" in out
    assert "ideal for 5 slots 2.50 s" in out
    for name in ("fast_task", "medium_task", "slow_task", "wait", "service", "e2e"):
        assert name in out


async def test_quiet_says_nothing_on_the_way(loadgen, worker):
    code, out, err = await loadgen("--mix", "fast=3", "--quiet")
    assert (code, err) == (0, "")
    assert "3 sent = 3 succeeded" in out


async def test_the_makespan_runs_from_the_first_push_to_the_last_settle(loadgen, worker):
    code, result = await loadgen.result("--mix", "fast=3,medium=2,slow=2")
    assert code == 0
    makespan_s, slow = result["totals"]["makespan_s"], result["series"]["slow_task"]
    # All seven were pushed in one write, so the longest way from there to a settle is the whole.
    assert makespan_s == pytest.approx(result["series"]["all"]["e2e"]["max"], abs=1e-5)
    assert slow["service"]["min"] >= 0.2
    # The second slow one comes sixth to five slots: it waits for the end of a fast one.
    assert 0.05 <= slow["wait"]["max"] <= makespan_s - 0.2


async def test_exactly_the_seven_tasks_of_the_contract_are_on_the_list(loadgen, redis_client):
    code, out, _ = await loadgen("--mix", "fast=3,medium=2,slow=2", "--no-follow")
    assert code == 0
    assert "pushed 7 tasks" in out
    tasks = [json.loads(raw) for raw in reversed(redis_client.lrange(KEY, 0, -1))]
    kinds = ["fast", "medium", "slow", "fast", "medium", "slow", "fast"]
    assert [task["type"] for task in tasks] == [f"{kind}_task" for kind in kinds]
    assert [task["run"].partition(":")[2] for task in tasks] == list("0123456")
    assert all(task["data"] == {} and task["enqueued_at"] > 1.6e9 for task in tasks)


async def test_a_worker_that_pops_left_gets_its_tasks_pushed_right(loadgen, redis_client):
    await loadgen("--mix", "fast=1,slow=1", "--no-follow", "--set", "queue.pop=left")
    first = json.loads(redis_client.lindex(KEY, 0))
    assert first["run"].endswith(":0")


async def test_without_a_live_worker_it_says_so_at_once_and_what_is_left(loadgen):
    process = await loadgen.start("--mix", "fast=2", "--drain-timeout", "1s")
    said = ""
    while "no live worker on 'async_tasks'" not in said and "left" not in said:
        line = (await process.stderr.readline()).decode()
        assert line, f"it ended without saying so: {said}"
        said += line
    assert "no live worker on 'async_tasks'" in said
    assert process.returncode is None, "it said so only at the end"
    out, _ = await process.communicate()
    assert process.returncode == 1
    assert "2 waiting" in out.decode()
    assert "not finished: 2" in out.decode()


async def test_other_tasks_in_a_shared_queue_are_neither_waited_for_nor_counted(
    loadgen, redis_client
):
    redis_client.lpush(KEY, *['{"type": "slow_task"}'] * 50)
    async with FakeWorker(loadgen.url, KEY, slots=60, service_s=lambda t: 0.05):
        redis_client.rpush(Keys.of(KEY).redeliver, "x:1:0|{}")  # never taken by this worker
        code, result = await loadgen.result("--mix", "fast=5")
    assert code == 0
    assert result["accounting"]["sent"] == result["accounting"]["succeeded"] == 5


async def test_failed_tasks_are_reported_as_failed(loadgen):
    async with FakeWorker(loadgen.url, KEY, fail_every=2):
        code, result = await loadgen.result("--mix", "fast=10")
        expected, _ = await loadgen.result("--mix", "fast=10", "--expect", "failed.share <= 50%")
    assert (code, expected) == (1, 0)
    assert result["accounting"]["succeeded"] == result["accounting"]["failed"] == 5
    assert result["series"]["all"]["e2e"]["count"] == 5
    assert result["failed_series"]["all"]["e2e"]["count"] == 5


async def test_a_poison_task_that_left_only_a_dead_letter_is_dead_and_not_lost(
    loadgen, redis_client
):
    process = await loadgen.start("--mix", "fast=3", "--json", "--drain-timeout", "5s")
    await until_async(lambda: redis_client.llen(KEY) == 3, what="three tasks pushed")
    for _ in range(3):
        raw = redis_client.rpop(KEY)
        redis_client.xadd(Keys.of(KEY).dead, {"raw": raw, "reason": "poison"})
    out, _ = await process.communicate()
    books = json.loads(out)["accounting"]
    assert (books["dead"], books["lost"]) == (3, 0)


async def test_tasks_in_flight_and_delayed_are_found_where_they_are(loadgen, redis_client):
    process = await loadgen.start("--mix", "fast=3", "--json", "--drain-timeout", "2s")
    await until_async(lambda: redis_client.llen(KEY) == 3, what="three tasks pushed")
    keys = Keys.of(KEY)
    redis_client.hset(keys.inflight, "w:1", redis_client.rpop(KEY))
    redis_client.zadd(keys.delayed, {b"w:2:0:1|" + redis_client.rpop(KEY): 9e12})
    out, _ = await process.communicate()
    books = json.loads(out)["accounting"]
    assert (books["in_flight"], books["delayed"], books["waiting"]) == (1, 1, 1)
    assert (process.returncode, books["lost"]) == (1, 0)


async def test_ctrl_c_ends_with_a_true_report_and_130(loadgen, redis_client, tmp_path):
    out_file = tmp_path / "run.json"
    async with FakeWorker(loadgen.url, KEY, slots=2, service_s=lambda _: 0.1):
        process = await loadgen.start("--mix", "fast=200", "--out", str(out_file))
        stats = Keys.of(KEY).stats
        await until_async(lambda: redis_client.hget(stats, "succeeded"), what="a task done")
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    books = json.loads(out_file.read_text())["accounting"]
    assert process.returncode == 130
    assert b"interrupted" in out
    parts = ("succeeded", "failed", "dead", "waiting", "in_flight", "delayed", "lost")
    assert books["sent"] == sum(books[part] for part in parts) == 200
    assert books["lost"] == 0
    assert books["waiting"] > 100


async def test_clear_needs_a_yes_and_says_how_many_it_dropped(loadgen, redis_client):
    await loadgen("add", "--mix", "fast=30")
    redis_client.hset(Keys.of(KEY).inflight, "w:1", "{}")
    code, _, err = await loadgen("clear")
    assert code == 2
    assert "30 tasks wait" in err
    assert "--yes" in err
    code, out, _ = await loadgen("clear", "--yes")
    assert code == 0
    assert "dropped 30 waiting tasks" in out
    assert redis_client.llen(KEY) == 0
    assert redis_client.hlen(Keys.of(KEY).inflight) == 1
    _, out, _ = await loadgen("clear", "--yes")
    assert "nothing waits" in out


async def test_monitor_shows_depth_done_and_workers(loadgen, worker, redis_client):
    redis_client.hset(Keys.of(KEY).stats, "succeeded", 41)
    redis_client.hset(Keys.of(KEY).inflight, "w:1", "{}")
    code, out, _ = await loadgen("monitor", "--once")
    assert code == 0
    for part in ("waiting 0", "in flight 1", "done 41", "workers 1", "slots 5"):
        assert part in out


async def test_the_slots_of_every_worker_count_also_of_hundreds(loadgen, redis_client):
    keys, ids = Keys.of(KEY), [f"w{number}" for number in range(300)]
    redis_client.zadd(keys.workers, dict.fromkeys(ids, 4e12))
    redis_client.hset(keys.about, mapping=dict.fromkeys(ids, json.dumps({"concurrency": 10})))
    code, out, _ = await loadgen("monitor", "--once")
    assert code == 0
    assert "workers 300  slots 3000" in out


@pytest.mark.parametrize(
    ("terminal", "flags", "shown"),
    [("stderr", ["--once"], "waiting 0"), ("stdout", ["--for", "10ms"], "queue async_tasks")],
)
def test_monitor_writes_to_stdout_wherever_stderr_goes(terminal, flags, shown, redis_url, tmp_path):
    """`loadgen monitor --once > file` and `loadgen monitor 2> file`, typed at a terminal."""
    ours, its = os.openpty()
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, terminal: its}
    command = [sys.executable, "-m", "taskrig_loadgen", "monitor", *flags, "--redis-url", redis_url]
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, **streams, cwd=tmp_path, env=environment) as process:
        os.close(its)
        out, _ = process.communicate(timeout=30)
        seen = os.read(ours, 65_536) if terminal == "stdout" else out
    os.close(ours)
    assert process.returncode == 0
    assert shown in seen.decode()


@pytest.mark.parametrize("kind", ["set", "hset", "xadd"])
async def test_a_queue_key_of_another_type_is_named_and_refused(kind, loadgen, redis_client):
    make: dict[str, Callable[[], Any]] = {
        "set": lambda: redis_client.set(KEY, "x"),
        "hset": lambda: redis_client.hset(KEY, "a", "b"),
        "xadd": lambda: redis_client.xadd(KEY, {"a": "b"}),
    }
    make[kind]()
    code, _, err = await loadgen("--mix", "fast=1")
    assert code == 2
    assert "'async_tasks', holds a" in err
    assert err.count("\n") <= 2


async def test_a_full_redis_refuses_the_push_and_nothing_is_counted_as_sent(server, tmp_path):
    full = server(appendonly=False, args=["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"])
    code, out, _ = await Loadgen(full.url, tmp_path)("--mix", "fast=10", "--no-follow", "--json")
    books = json.loads(out)["accounting"]
    assert (books["sent"], books["refused"], code) == (0, 10, 1)


async def test_a_redis_that_is_not_there_is_one_clear_line_and_5(tmp_path, server):
    gone = server(appendonly=False)
    gone.close()
    code, _, err = await Loadgen(gone.url, tmp_path)("--mix", "fast=1")
    assert code == 5
    assert "Connection refused" in err
    assert "Traceback" not in err


async def test_a_wrong_password_is_refused_with_the_url_masked(server, tmp_path):
    locked = server(appendonly=False, password="sesame")
    url = locked.url.replace("sesame", "hunter2")
    code, _, err = await Loadgen(url, tmp_path)("--mix", "fast=1")
    assert code == 5
    assert "password" in err
    assert "hunter2" not in err
    assert "Traceback" not in err


def the_rights_in_the_docs() -> list[str]:
    text = (Path(__file__).parents[2] / "docs" / "loadgen.md").read_text()
    found = re.search(r"ACL SETUSER loadgen on >secret([^`]*)```", text)
    assert found, "docs/loadgen.md shows the user's rights"
    return found[1].split()


async def test_the_documented_rights_are_enough_and_fewer_are_one_clear_line(server, tmp_path):
    own = server(appendonly=False)
    limited = Loadgen(f"redis://loadgen:secret@127.0.0.1:{own.port}/0", tmp_path)
    with own.client() as admin:
        rights = the_rights_in_the_docs()
        admin.execute_command("ACL", "SETUSER", "loadgen", "on", ">secret", *rights)
        admin.hset(Keys.of(KEY).inflight, "w:1", "{}")
        code, out, err = await limited("--mix", "fast=2", "--drain-timeout", "100ms")
        assert (code, "2 waiting" in out) == (1, True), err  # it searched everywhere
        async with FakeWorker(own.url, KEY):
            code, _, err = await limited("drain", "--backlog", "10")
            assert code == 0, err
        admin.zadd(Keys.of(KEY).delayed, {"x": 9e12})
        code, out, err = await limited("clear", "--yes")
        assert "dropped 1 waiting" in out, err
        admin.execute_command("ACL", "SETUSER", "loadgen", "-hgetall")
        code, _, err = await limited("--mix", "fast=1")
    assert (code, err.count("\n")) == (5, 2), err  # what it does, and what is wrong
    assert "ACL failure in script: User loadgen has no permissions to run the 'hgetall'" in err


async def test_a_key_beside_the_queue_of_another_type_is_named_and_refused(loadgen, redis_client):
    redis_client.set(Keys.of(KEY).stats, "x")
    code, _, err = await loadgen("monitor", "--once")
    assert code == 2
    assert Keys.of(KEY).stats in err
    assert err.count("\n") == 1


def test_what_nobody_foresaw_is_one_line_and_a_traceback_only_when_asked(monkeypatch, capsys):
    def broken() -> str:
        raise KeyError("redis://user:hush@host/0")

    monkeypatch.setattr("taskrig_loadgen.cli.schema.schema", broken)
    assert main(["schema"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("loadgen: unforeseen KeyError")
    assert said.count("\n") == 1
    assert "hush" not in said
    assert main(["schema", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_d_at_the_question_of_clear_is_a_no(monkeypatch, redis_url, redis_client, capsys):
    redis_client.lpush(KEY, "{}")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["clear", "--redis-url", redis_url]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"drop 1 waiting tasks from '{KEY}'? [y/N] nothing was dropped\n")
    assert redis_client.llen(KEY) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--mix", "fast"],
        ["--mix", "fast=-1"],
        ["--mix", "=3"],
        ["--mix", "fast=1,fast=2"],
        ["--mix", ""],
        ["--mix", "fast=0"],
        ["--mix", "fsat=1"],
        ["--mix", "FAST=3"],
        ["--mix", "fast=3;slow=2"],
        ["--mix", "fast=3,", "slow=2"],
        ["run", "--mix", "fast=3", "slow=2", "--rate", "1", "--duration", "1s"],
        ["run", "--mix", "fast=1", "--rate", "1", "--duration", "1s", "--queues", "a=3;b=1"],
        ["--mix"],
        ["--mix", "fast=1", "--seed", "x"],
        ["--mix", "fast=1", "--drain-timeout", "soon"],
        ["--mix", "fast=1", "--nonsense"],
        ["nonsense"],
        ["--redis-key", "k", "monitor"],
    ],
)
def test_bad_arguments_are_one_line_and_2(arguments, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("loadgen: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["run"]])
def test_a_mix_with_spaces_is_said_to_need_none(command, capsys):
    rate = ["--rate", "1", "--duration", "1s"] if command else []
    for words in (["fast=3,", "slow=2"], ["fast=3", "slow=2"]):
        assert main([*command, "--mix", *words, *rate]) == 2
        assert "write the mix without spaces, like --mix fast=3,slow=2" in capsys.readouterr().err


async def test_a_type_that_looks_misspelt_is_sent_only_when_asked(loadgen, redis_client):
    code, _, err = await loadgen("--mix", "fsat=1", "--no-follow")
    assert code == 2
    assert "did you mean fast?" in err
    code, _, _ = await loadgen("--mix", "fsat=1", "--no-follow", "--allow-unknown")
    assert (code, redis_client.llen(KEY)) == (0, 1)


async def test_help_shows_an_example(loadgen):
    for command in ([], ["add"], ["clear"], ["monitor"]):
        code, out, _ = await loadgen(*command, "--help") if command else await loadgen("--help")
        assert code == 0
        assert "example:\n  loadgen" in out


def test_the_client_repeats_nothing_by_itself():
    from taskrig.config.sections import Config
    from taskrig_loadgen.connection import open_redis

    client = open_redis(Config())
    assert client.connection_pool.make_connection().retry.get_retries() == 0
