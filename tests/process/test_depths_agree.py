"""Whoever is asked how many tasks stand where says the same: lib/depths.lua defines it once."""

from __future__ import annotations

import asyncio
import json
import re
import time

import redis.asyncio

from taskrig.broker import QueueCommands
from taskrig.config.load import load_config
from taskrig_loadgen.queueview import look
from tests.support.processes import run_to_end
from tests.support.waiting import until

HANDLERS = ["tests.support.author_handlers"]
EXPECTED = {"waiting": 8, "in_flight": 2, "delayed": 2, "dead": 1, "paused": 3}


def everything_at_once(world, type_in):
    """A full worker with one task of each kind of waiting; the depths are EXPECTED."""
    worker = world.start_worker(
        handlers=HANDLERS, concurrent=2, tasks={"gated": {"max_concurrent_total": 1}}
    )
    redis, keys = world.redis, world.keys
    type_in("pause", "--type", "paused")
    until(lambda: worker.status()["paused_types"] == ["paused"], what="the worker knows")
    world.enqueue("paused", 3)
    until(lambda: redis.llen(keys.held_of("paused:paused")) == 3, what="three are set aside")
    world.enqueue("says", 2, extra={"run_at": time.time() + 3600})
    until(lambda: redis.zcard(keys.delayed) == 2, what="two are delayed")
    world.push("not a task")
    until(lambda: redis.xlen(keys.dead) == 1, what="one is a dead letter")
    world.enqueue("gated", 3)
    until(lambda: redis.llen(keys.held_of("gated")) == 2, what="a limit holds two back")
    world.enqueue("sleeps", 1, s=60)
    until(lambda: redis.hlen(keys.inflight) == 2, what="two run")
    redis.rpush(keys.redeliver, b"gone:1:1:0|" + b'{"type": "says"}')
    redis.lpush(keys.arrivals, b'{"type": "says"}')
    world.enqueue("says", 4)
    return worker


def test_status_page_metrics_monitor_and_loadgen_agree(world, type_in):
    worker = everything_at_once(world, type_in)

    def metrics():
        return {n: int(worker.metric("worker_queue_depth", state=n)) for n in EXPECTED}

    until(lambda: metrics() == EXPECTED, what="the gauges")
    assert worker.metric("worker_queue_held") == 2
    assert type_in("status", "--over", "0", as_json=True)["depth"] == EXPECTED
    assert json.loads(worker.get("/api/status")[1])["depth"] == EXPECTED
    assert sum(type_in("queue", "count", as_json=True)["types"].values()) == 8 + 3

    line = run_to_end(
        "loadgen", "monitor", "--once", "--redis-url", world.url, cwd=world.folder
    ).stdout
    said = {name: int(n) for name, n in re.findall(r"(waiting|in flight|delayed) +(\d+)", line)}
    assert said == {"waiting": 8, "in flight": 2, "delayed": 2}, line

    async def looked():
        async with redis.asyncio.Redis.from_url(world.url) as client:
            return await look(client, QueueCommands(load_config(None, env={})))

    view = asyncio.run(looked())
    assert (view.waiting, view.in_flight, view.delayed, view.dead_letters) == (8, 2, 2, 1)
