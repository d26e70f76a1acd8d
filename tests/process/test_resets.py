"""A connection to Redis that is reset (RST) under a worker, and answers that come in time."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time

import pytest

from taskrig_loadgen.chaos.fault_proxy import FaultProxy
from tests.support.processes import ROOT, environment, run_to_end
from tests.support.waiting import until
from tests.support.world import LEASE_S

LOOPS = ["uvloop", "asyncio"]


@pytest.fixture(params=LOOPS)
def loop_env(request, tmp_path):
    """The environment of a program that runs on this event loop."""
    if request.param == "uvloop":
        return {}
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "uvloop.py").write_text("raise ImportError('not installed')\n")
    return {"PYTHONPATH": f"{tmp_path / 'without'}{os.pathsep}{ROOT}"}


@pytest.fixture
def wired(server, world_on):
    """A world whose workers reach Redis over a wire; the test itself has the direct way."""
    own = server()
    wire = FaultProxy("127.0.0.1", own.port).start()
    world = world_on(own.url)
    world.url, world.direct_url = f"redis://127.0.0.1:{wire.port}/0", own.url
    yield wire, world
    wire.close()


@contextlib.contextmanager
def resets_at_random(wire, most=10_000, begin=lambda: True):
    """Reset each connection about four times a second, from when `begin()` says so."""
    over, rng = threading.Event(), random.Random(5)

    def reset():
        left = most
        while left > 0 and not over.wait(0.05):
            if begin():
                left -= wire.reset(lambda _: rng.random() < 0.2)

    thread = threading.Thread(target=reset)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def connections(world):
    """The server's ids of the worker's connections."""
    return {one["id"] for one in world.redis.client_list() if "taskrig" in one["name"]}


def test_an_idle_worker_lives_through_resets_of_its_connections(wired, loop_env):
    wire, world = wired
    worker = world.start_worker(env=loop_env)
    for turn in range(5):
        until(lambda: wire.reset() > 0, what="there is something to reset")
        world.enqueue("note", id=turn)
        world.all_settled()
    assert worker.drain() == 0, worker.log()


def test_resets_at_random_moments_neither_end_a_busy_worker_nor_poison_its_long_task(
    wired, loop_env
):
    wire, world = wired
    worker = world.start_worker(env=loop_env, concurrent=4)
    world.enqueue("sleep", id="long", s=3 * LEASE_S)
    rng = random.Random(13)
    with resets_at_random(wire):
        for turn in range(20):
            world.enqueue("sleep", 10, id=turn, s=rng.choice((0, 0.01, 0.05)))
            time.sleep(rng.uniform(0, 0.2))  # the point is the moment, not a condition
        until(lambda: world.settled() > 150, 30, "most of them have run")
    world.all_settled(30)
    assert world.runs()["long"] == 1
    assert (world.totals()["dead"], world.totals()["reclaimed"]) == (0, 0)
    assert worker.drain() == 0, worker.log()
    assert "Traceback" not in worker.log()


def test_a_handler_that_holds_the_loop_longer_than_the_socket_timeout_costs_no_connection(
    wired, loop_env
):
    _, world = wired
    worker = world.start_worker(
        env=loop_env, concurrent=3, redis={"socket_timeout": 0.2}, worker={"lease": 5}
    )
    before = until(lambda: len(connections(world)) == 4 and connections(world))
    for turn in range(3):
        world.enqueue("block", id=f"block {turn}", s=0.5)
        world.enqueue("note", 5, id=f"note {turn}")
        world.enqueue("sleep", 5, id=f"sleep {turn}", s=0.05)
    world.all_settled(30)
    assert worker.metric("worker_redis_errors_total") == 0
    assert "Redis" not in worker.log().partition("started")[2].replace("redis://", "")
    assert connections(world) == before
    assert worker.drain() == 0, worker.log()


def test_a_drain_ends_well_while_connections_are_reset(wired, loop_env):
    wire, world = wired
    worker = world.start_worker(env=loop_env, concurrent=4)
    with resets_at_random(wire):
        world.enqueue("sleep", 8, s=0.7)
        until(lambda: len(world.journal("start")) >= 4, what="four tasks run")
        assert worker.drain() == 0, worker.log()
    assert world.in_flight() == 0
    world.assert_conserved()
    assert "Traceback" not in worker.log()


def test_the_status_page_answers_after_its_idle_connection_was_reset(wired):
    wire, world = wired
    worker = world.start_worker()
    for _ in range(3):
        assert worker.get("/api/dead")[0] == 200
        wire.reset()
        time.sleep(0.05)  # until the reset is here


def test_a_load_generator_counts_through_resets(wired, tmp_path):
    wire, world = wired
    world.start_worker(concurrent=20, redis={"url": world.direct_url})
    with resets_at_random(wire, most=10, begin=lambda: world.settled() > 0):
        done = run_to_end(
            "loadgen",
            "run",
            "--yes",
            "--mix",
            "note=1",
            "--rate",
            "100",
            "--duration",
            "4s",
            "--redis-url",
            world.url,
            "--out",
            "run.json",
            cwd=tmp_path,
            timeout_s=60,
        )
    assert "unforeseen" not in done.stderr
    accounting = json.loads((tmp_path / "run.json").read_text())["accounting"]
    assert accounting["lost"] == 0, done.stdout
    assert accounting["succeeded"] > 300, done.stdout


def test_monitoring_goes_on_through_resets(wired, tmp_path):
    wire, world = wired
    program = [sys.executable, "-m", "taskrig_loadgen"]
    monitor = subprocess.Popen(
        [*program, "monitor", "--every", "100ms", "--redis-url", world.url],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in itertools.islice(monitor.stdout, 12):
        assert line.startswith(("waiting", "Redis at")), line
        wire.reset()
    monitor.terminate()
    _, said = monitor.communicate(timeout=20)
    assert "unforeseen" not in said
