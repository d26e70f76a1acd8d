"""Nobody reads standard error, or it cannot be written: both programs work on, and end in time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
import yaml

from tests.support.outputs import Output, full_pipe
from tests.support.processes import environment
from tests.support.servers import free_port
from tests.support.waiting import until

MANY = 6000  # tasks whose lines are more than a pipe and the worker together keep


class Run:
    """`worker run` whose standard output and error are given."""

    def __init__(self, world, out, *flags, out_too=True, command=None, cwd=None, **changes):
        self.world = world
        self.port = free_port()
        path = world.folder / "stalled.yaml"
        path.write_text(yaml.safe_dump(world.config(self.port, changes)))
        run = [sys.executable, "-m", "taskrig", "run", "--config", str(path), *flags]
        self.process = subprocess.Popen(
            command or run,
            cwd=cwd or world.folder,
            env=environment({"TASKRIG_TEST_FOLDER": str(world.folder)}),
            stdin=subprocess.DEVNULL,
            stdout=out if out_too else subprocess.DEVNULL,
            stderr=out,
        )

    def ends(self, timeout_s=15):
        return self.process.wait(timeout_s)

    def stop(self, timeout_s=15):
        self.process.send_signal(signal.SIGTERM)
        return self.ends(timeout_s)

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as page:
            text = page.read().decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])


@pytest.fixture
def run(world):
    started = []

    def start(*args, **options):
        started.append(Run(world, *args, **options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def numbers(text):
    return [int(n) for n in re.findall(r"task (\d+) started", text)]


def test_with_a_pipe_that_nobody_reads_every_task_is_done_and_the_drain_ends_with_0(world, run):
    world.enqueue("note", MANY)
    out = Output()
    worker = run(out.writer, "--log-format", "json")
    world.all_settled(40)
    assert world.totals()["succeeded"] == MANY
    until(lambda: worker.metric("worker_log_lines_dropped_total") > 0)
    assert worker.stop() == 0


def test_when_somebody_reads_again_the_lines_are_in_order_and_what_is_missing_is_said(world, run):
    world.enqueue("note", MANY)
    out = Output()
    worker = run(out.writer, "--log-format", "json")
    world.all_settled(40)
    out.start_reading()
    until(lambda: "dropped" in out.text())
    world.enqueue("note", 1)
    world.all_settled()
    assert worker.stop() == 0
    text = out.all_text()
    seen = numbers(text)
    assert seen == sorted(seen)
    assert seen[-1] == MANY + 1  # a line of after the gap
    lost = sum(map(int, re.findall(r"(\d+) lines for stderr were dropped", text)))
    of_tasks = len(re.findall(r"task \d+ (?:started|done)", text))
    assert of_tasks + lost == 2 * (MANY + 1)
    assert json.loads(text.splitlines()[-1])["message"].endswith("exit 0")


def test_a_slow_reader_gets_every_line_up_to_the_last(world, run):
    world.enqueue("note", 500)
    out = Output()
    worker = run(out.writer, "--max-tasks", "500")
    out.start_reading(pause_s=0.01)
    assert worker.ends(30) == 0
    text = out.all_text()
    assert numbers(text) == list(range(1, 501))
    assert text.endswith("stopped: 500 done, 0 failed, 0 invalid, 0 released, exit 0\n")


def test_a_terminal_after_ctrl_s_does_not_stop_the_worker(world, run):
    out = Output("terminal")
    out.stop_terminal()
    world.enqueue("note", 1000)
    worker = run(out.writer)
    world.all_settled(40)
    assert worker.stop() == 0
    out.go_on()


def test_a_second_signal_gives_back_at_once_though_nobody_reads(world, run):
    world.enqueue("note", 500)
    world.enqueue("block", id="stuck", s=60)
    out = Output()
    worker = run(out.writer)
    until(lambda: any(one.id == "stuck" for one in world.journal("start")), 30)
    worker.process.send_signal(signal.SIGTERM)
    until(lambda: world.redis.zcard(world.keys.workers) == 1)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.ends(12) == 0
    assert world.waiting() >= 1


@pytest.mark.parametrize("sink", ["reader gone", "disk full", "closed"])
def test_a_standard_error_that_cannot_be_written_changes_nothing(world, run, sink):
    world.enqueue("note", 50)
    world.enqueue("raise", id=1, kind="ValueError")
    if sink == "reader gone":
        out = Output()
        os.close(out.reader)
        worker = run(out.writer)
    elif sink == "disk full":
        with open("/dev/full", "w") as full:
            worker = run(full)
    else:
        worker = run(
            None,
            command=[
                "/bin/sh",
                "-c",
                f"exec {sys.executable} -m taskrig run --config stalled.yaml 1>&- 2>&- 0<&-",
            ],
        )
    world.all_settled()
    assert (world.totals()["succeeded"], world.totals()["failed"]) == (50, 1)
    if sink != "closed":
        assert worker.metric("worker_log_lines_dropped_total") >= 100
    assert os.readlink(f"/proc/{worker.process.pid}/fd/2").startswith(("/dev/", "pipe:"))
    assert worker.stop() == 0


def test_several_processes_work_on_and_end_though_nobody_reads(world, run):
    world.enqueue("note", 1000)
    out = Output()
    worker = run(out.writer, "--processes", "2")
    world.all_settled(60)
    assert worker.stop(25) == 0


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--set", "worker.max_concurrrent=1"], 2),
        (["--redis-url", "redis://127.0.0.1:1/0"], 3),
        (["--set", "handlers=[nowhere]"], 2),
    ],
)
def test_a_worker_that_cannot_start_ends_with_its_exit_code_though_nobody_reads(
    world, run, flags, code
):
    worker = run(full_pipe().writer, *flags, redis={"connect_timeout": 0.5})
    assert worker.ends(20) == code


def test_what_handlers_print_does_not_stop_the_worker_when_nobody_reads(world, run):
    (world.folder / "printing.py").write_text(
        "from taskrig import handler\n\n\n"
        "@handler('print')\nasync def talk(data):\n    print('x' * 2000)\n"
    )
    world.enqueue("print", 100)
    out = Output()
    worker = run(out.writer, handlers=["printing"], log={"tasks": "none"})
    world.all_settled(30)
    assert worker.stop() == 0


def test_a_logging_handler_of_the_users_that_blocks_does_not_keep_the_process_from_ending(
    world, run
):
    (world.folder / "blocking.py").write_text(
        "import logging, time\nfrom taskrig import handler\n\n\n"
        "class Blocks(logging.Handler):\n    def emit(self, record):\n        time.sleep(600)\n\n\n"
        "@handler('block')\nasync def block(data):\n"
        "    logging.getLogger().addHandler(Blocks())\n    logging.getLogger().info('now')\n"
    )
    world.enqueue("block")
    out = Output()
    worker = run(out.writer, handlers=["blocking"])
    out.start_reading()
    until(lambda: "handling block" in out.text(), 20)
    worker.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.ends(12) == 0
    assert world.waiting() == 1


@pytest.fixture(params=["pipe", "terminal"])
def stopped(request):
    """A standard error that takes nothing: a full pipe, or a terminal after Ctrl-S."""
    if request.param == "pipe":
        return full_pipe()
    out = Output("terminal")
    out.stop_terminal()
    return out


@pytest.fixture
def loadgen(world, stopped):
    """Start `loadgen ...` with it; its result goes to r.json."""
    started = []

    def start(*words):
        command = [sys.executable, "-m", "taskrig_loadgen", *words]
        process = subprocess.Popen(
            [*command, "--redis-url", world.url, "--out", "r.json"],
            cwd=world.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stopped.writer,
        )
        started.append(process)
        return process

    yield start
    for one in started:
        one.kill()
        one.wait()


def books(world):
    return json.loads((world.folder / "r.json").read_text())["accounting"]


def test_loadgen_sends_everything_and_ends_though_nobody_reads_what_it_says(world, loadgen):
    world.start_worker(concurrent=1)
    assert loadgen("--yes", "--mix", "note=3000").wait(60) == 0
    assert (books(world)["sent"], books(world)["succeeded"]) == (3000, 3000)


def test_ctrl_c_ends_a_loadgen_whose_stderr_nobody_reads(world, loadgen):
    process = loadgen("run", "--yes", "--mix", "note=1", "--rate", "300", "--duration", "10m")
    until(lambda: world.redis.llen(world.keys.queue) > 300, 20, "a second's tasks were sent")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert books(world)["sent"] == books(world)["waiting"] > 300
