"""A worker lists a hundred of its running tasks; every count is of all of them."""

from __future__ import annotations

import asyncio
import io
import json

import redis.asyncio
from rich.console import Console

from taskrig.broker import QueueCommands
from taskrig.config.load import load_config
from taskrig_loadgen.cli.monitor import _picture
from taskrig_loadgen.queueview import look
from tests.support.waiting import until


def test_180_of_200_running_tasks_are_180_of_200_everywhere(world, type_in):
    worker = world.start_worker(concurrent=200)
    world.enqueue("gate", 180)
    until(lambda: len(world.journal("start")) == 180, 30, "all run")

    def told():
        return json.loads(worker.get("/api/status")[1])

    until(lambda: told()["running_total"] == 180, what="the worker has told others")
    status = type_in("status", "--over", "0")
    assert "in flight  180 of 200 slots" in status
    assert "  180 of 200 running  " in status
    assert "  ... and 160 more" in status
    assert "  180 of 200 running  " in type_in("top", "--count", "1", "--every", "0.2")
    seen = type_in("status", "--over", "0", as_json=True)
    assert (seen["running_total"], len(seen["running"])) == (180, 100)
    assert seen["workers"][0]["running"] == 180
    own = json.loads(worker.get("/status")[1])
    assert (own["running_total"], len(own["running"])) == (180, 100)
    assert 0 < own["cpu"] < 600  # seconds so far
    assert 10 * 2**20 < own["memory"] < 2**30

    view = asyncio.run(_looked(world))
    screen = Console(file=io.StringIO(), width=120)
    screen.print(_picture(view, 0.0, "", load_config(None, env={}, overrides={})))
    shown = screen.file.getvalue()
    assert "180 of 200 slots" in shown
    [row] = [line for line in shown.splitlines() if str(worker.pid) in line]
    assert row.rstrip().endswith("180 of 200")
    world.open_gate()
    world.all_settled()
    assert "... and " not in type_in("status", "--over", "0")


async def _looked(world):
    async with redis.asyncio.Redis.from_url(world.url) as client:
        return await look(client, QueueCommands(load_config(None, env={})))


def test_of_more_workers_than_describe_themselves_the_slots_are_not_taken_for_all(world, type_in):
    about = json.dumps({"host": "h", "concurrency": 5, "running": [], "running_total": 5})
    world.redis.zadd(world.keys.workers, {f"w{n:03d}": 1e15 for n in range(230)})
    world.redis.hset(world.keys.about, mapping={f"w{n:03d}": about for n in range(230)})
    world.redis.hset(world.keys.inflight, mapping={f"w000:{n}": "x" for n in range(1150)})
    status = type_in("status", "--over", "0")
    assert "in flight  1,150; 200 of the 230 workers have 1,000 slots" in status
    assert "workers    230" in status and "  ... and 30 more" in status


def test_a_worker_that_does_not_tell_its_total_is_counted_by_what_it_lists(world, type_in):
    """As one of 0.1.0, or one whose description somebody has damaged."""
    world.redis.zadd(world.keys.workers, {"old": 1e15, "odd": 1e15})
    running = [{"tag": "old:1", "type": "x"}, {"tag": "old:2", "type": "x"}]
    odd = {"running": "?", "running_total": "many", "concurrency": None}
    world.redis.hset(world.keys.about, "old", json.dumps({"concurrency": 5, "running": running}))
    world.redis.hset(world.keys.about, "odd", json.dumps(odd))
    world.redis.hset(world.keys.inflight, "old:1", "x")  # the other one has ended meanwhile
    seen = type_in("status", "--over", "0", as_json=True)
    assert {one["id"]: one["running"] for one in seen["workers"]} == {"old": 1, "odd": 0}
    assert seen["running_total"] == len(seen["running"]) == 1
