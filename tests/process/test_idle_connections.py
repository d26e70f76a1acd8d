"""Connections that are idle are cut on the way to Redis: by its timeout, by balancers."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from taskrig.broker.produce import Producer
from taskrig.config.load import load_config
from taskrig_loadgen.chaos.fault_proxy import FaultProxy
from tests.support.processes import MODULES, environment
from tests.support.waiting import until
from tests.support.world import LEASE_S


@pytest.fixture
def own(server):
    return server()


@pytest.fixture
def wire(own):
    one = FaultProxy("127.0.0.1", own.port).start()
    yield one
    one.close()


@pytest.fixture
def world(wire, own, world_on):
    return world_on(f"redis://127.0.0.1:{wire.port}/0")


def test_a_killed_workers_task_is_run_by_another_whose_idle_connections_are_cut(wire, world):
    """The lease is renewed every third of its length: each time on a connection that was cut.

    The limit is far from both (a look every fifth of it, too): no cut meets a call on its way.
    """
    world.enqueue("gate", id="held")
    doomed = world.start_worker("doomed")
    until(lambda: world.runs()["held"] == 1, what="the task runs")
    wire.cut_idle(LEASE_S / 15)
    rescuer = world.start_worker("rescuer")
    doomed.kill()
    until(lambda: world.runs()["held"] == 2, 15 * LEASE_S, "the task runs again")
    world.open_gate()
    world.all_settled()
    assert "Redis is away" not in rescuer.log()
    assert rescuer.drain() == 0


def test_whoever_looks_now_and_then_does_so_under_a_servers_timeout(server, world_on, tmp_path):
    """A person's questions, a live view and the page: their connections are idle in between."""
    own = server(args=["--timeout", "1"])
    world = world_on(own.url)
    worker = world.start_worker(worker={"interval": 5, "lease": 15})

    def start(program, *words):
        command = [sys.executable, "-m", MODULES[program], *words, "--redis-url", world.url]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    top = start("worker", "top", "--every", "2.5", "--count", "3", "--json")
    monitor = start("loadgen", "monitor", "--every", "2.5s", "--for", "5s")
    producer = Producer(load_config(None, env={}, overrides={"redis.url": world.url}))
    ended = False
    while not ended:  # a look, a push, and a pause in which all is idle
        ended = top.poll() is not None and monitor.poll() is not None
        assert json.loads(worker.get("/api/status")[1])["workers"]
        producer.push([b'{"type": "note", "data": {"id": "pushed"}}'])
        world.accepted += 1
        time.sleep(2.5)
    for process in (top, monitor):
        out = process.communicate()[0]
        assert process.returncode == 0, out
        assert "Redis at" not in out, "no look failed"
    world.all_settled()
    assert "Redis is away" not in worker.log()
    assert worker.metric("worker_redis_errors_total") == 0
