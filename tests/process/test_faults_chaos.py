"""`loadgen chaos`: the whole harness, scaled down; and that it does notice a loss."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import redis

from taskrig.config.load import load_config
from taskrig_loadgen.chaos.faults import KILL, OTHERS
from taskrig_loadgen.chaos.program import Chaos
from taskrig_loadgen.cli import main
from taskrig_loadgen.load.mix import parse_mix
from taskrig_loadgen.load.pacer import constant
from taskrig_loadgen.load.workload import Workload
from tests.support.processes import run_to_end


def test_nothing_is_lost_while_workers_are_killed_and_redis_and_the_wire_break(tmp_path):
    done = run_to_end(
        "loadgen",
        "chaos",
        "--duration",
        "14s",
        "--rate",
        "300",
        "--workers",
        "2",
        "--lease",
        "1s",
        "--json",
        str(tmp_path / "chaos.json"),
        "--keep",
        str(tmp_path / "logs"),
        cwd=tmp_path,
        timeout_s=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "chaos.json").read_text())
    assert document["holds"]
    assert document["accounting"]["lost"] == 0
    assert document["accepted"] == document["found"] > 2000
    assert {"worker killed", "redis restarted"} <= {one["name"] for one in document["faults"]}
    assert "lost 0" in done.stdout
    assert list((tmp_path / "logs").glob("worker-*.log"))


@pytest.fixture
def chaos_at_a_terminal(tmp_path):
    """`loadgen chaos` in a process group of its own, as a shell starts it."""
    command = [sys.executable, "-m", "taskrig_loadgen", "chaos", "--duration", "60s"]
    command += ["--rate", "50", "--workers", "1", "--json", str(tmp_path / "chaos.json")]
    process = subprocess.Popen(
        [*command, "--keep", str(tmp_path / "logs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_ends_a_chaos_run_with_130_and_what_is_known(chaos_at_a_terminal, tmp_path):
    process = chaos_at_a_terminal
    for line in process.stderr:
        if "sent" in line and "sent 0" not in line:
            break
    os.killpg(process.pid, signal.SIGINT)  # the whole group, as a terminal does
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted: lost 0 until then" in out
    document = json.loads((tmp_path / "chaos.json").read_text())
    assert document["interrupted"]
    assert document["accepted"] == document["found"] > 0
    assert (tmp_path / "logs" / "worker-1.log").exists()


@pytest.fixture
def one_row(tmp_path, monkeypatch):
    """Run a chaos program of one fault alone; the report, and what was injected."""

    async def run(name, mix):
        (row,) = (fault for fault in (KILL, *OTHERS) if fault.name == name)
        monkeypatch.setattr("taskrig_loadgen.chaos.program.schedule", lambda length_s: [(1.0, row)])
        workload = Workload(
            mix=parse_mix(mix), profile=constant(30, 5.0), drain_timeout_s=20, seed=1
        )
        config = load_config(None, env={})
        chaos = Chaos(config, workload, workers=2, concurrent=20, lease_s=1.0, folder=tmp_path)
        report = await chaos.run(lambda experiment: experiment.run(), lambda said: None)
        (injected,) = report.injected
        assert report.holds, (report, injected)
        assert injected.recovery_s is not None
        return report, injected

    return run


@pytest.mark.parametrize("name", ["idle connections cut", "connections reset"])
async def test_a_killed_workers_tasks_come_back_although_connections_end(one_row, name):
    _, injected = await one_row(name, "quick=2,long=1")
    assert injected.killed


async def test_signals_to_children_of_handlers_end_no_worker_and_make_no_poison(one_row):
    report, injected = await one_row("children hurt", "quick=2,forks=1")
    signals = int(injected.target.partition(" ")[0])
    assert signals > 5
    assert report.totals["succeeded"] == report.accepted
    assert report.totals.get("reclaimed", 0) == report.totals.get("released", 0) == 0
    assert report.workers_started == 2


@pytest.mark.parametrize("name", ["worker killed", "worker frozen", "redis killed"])
async def test_no_form_of_handler_loses_a_task(one_row, name):
    report, _ = await one_row(name, "quick=2,plain=2,process=2,batch=2")
    assert report.totals["succeeded"] == report.accepted


async def test_a_task_that_is_taken_away_is_reported_as_lost(tmp_path):
    workload = Workload(
        mix=parse_mix("short=1"), profile=constant(80, 6.0), drain_timeout_s=5, seed=1
    )
    chaos = Chaos(
        load_config(None, env={}), workload, workers=1, concurrent=2, lease_s=1.0, folder=tmp_path
    )
    stolen = []

    def steal(_said):
        with redis.Redis.from_url(chaos.config.redis.url) as client:
            stolen.append(client.rpop(chaos.config.queue.key))

    report = await chaos.run(lambda experiment: experiment.run(), steal)
    taken = [one for one in stolen if one]
    assert taken, "two slots for 80 tasks a second leave some waiting"
    assert report.lost == len(taken)
    assert report.accepted - report.found == len(taken)
    assert not report.holds


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--duration", "1s"),
        ("--duration", "soon"),
        ("--rate", "0"),
        ("--workers", "0"),
        ("--slots", "-1"),
        ("--lease", "1ms"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_2(capsys, flag, value):
    assert main(["chaos", f"{flag}={value}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert flag in line
