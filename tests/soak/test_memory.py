"""Memory is bounded by concurrency: not by the backlog, time, restarts or what producers send."""

from __future__ import annotations

import json
import time

from tests.support.waiting import until

MIB = 2**20


def rss(worker):
    """Resident memory of a worker, bytes."""
    with open(f"/proc/{worker.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def fill(world, count):
    item = json.dumps({"type": "sleep", "data": {"s": 0.05, "pad": "x" * 960}})
    for _ in range(count // 1000):
        world.redis.lpush(world.keys.queue, *[item] * 1000)
    world.accepted += count


def memory_with(world, name, count):
    fill(world, count)
    worker = world.start_worker(name, concurrent=10)
    until(lambda: world.settled() >= 500, 60, "it has worked for a while")
    seen = rss(worker)
    worker.drain()
    world.redis.flushdb()
    world.accepted = 0
    return seen


def test_a_million_waiting_items_cost_no_more_memory_than_a_thousand(world):
    few = memory_with(world, "few", 1_000)
    many = memory_with(world, "many", 1_000_000)
    print(f"\nworker: {few / MIB:.1f} MiB with 1,000 waiting, {many / MIB:.1f} with 1,000,000")
    assert many - few < 10 * MIB


def test_a_hundred_thousand_unknown_types_cost_nothing(world):
    worker = world.start_worker(
        concurrent=50, handlers=["taskrig.handlers"], log={"tasks": "failures"}
    )
    world.push(*(json.dumps({"type": f"warm{n}"}) for n in range(5_000)))
    world.all_settled(60)
    before, page = rss(worker), len(worker.get("/metrics")[1])
    world.push(*(json.dumps({"type": f"type{n}"}) for n in range(100_000)))
    world.all_settled(120)
    grown = rss(worker) - before
    began = time.monotonic()
    later = len(worker.get("/metrics")[1])
    print(
        f"\n100,000 types: {grown / MIB:+.1f} MiB, page {page} -> {later} bytes, "
        f"scraped in {(time.monotonic() - began) * 1000:.1f} ms"
    )
    assert grown < 10 * MIB
    assert later < page * 1.1


def test_twenty_restarts_of_redis_leave_memory_and_connections_flat(server, world_on):
    own = server()
    world = world_on(own.url)
    worker = world.start_worker(concurrent=20)

    def restart(times):
        for _ in range(times):
            world.enqueue("note", 100)
            own.stop()
            own.start()
            world.all_settled(30)

    restart(3)
    before = rss(worker)
    restart(20)
    clients = [one for one in world.redis.client_list() if "taskrig" in one["name"]]
    grown = rss(worker) - before
    print(f"\n20 restarts: {grown / MIB:+.1f} MiB, {len(clients)} connections")
    assert grown < 10 * MIB
    assert len(clients) <= 4


def test_minutes_of_steady_work_leave_memory_flat(world):
    worker = world.start_worker(concurrent=20, log={"tasks": "none"})
    end, samples = time.monotonic() + 600, []
    while time.monotonic() < end:
        world.enqueue("sleep", 500, s=0.02)
        until(lambda: world.waiting() < 100, 30, "the worker keeps up")
        samples.append(rss(worker))
    early, late = samples[len(samples) // 10], samples[-1]
    print(f"\n10 minutes, {world.accepted:,} tasks: {early / MIB:.1f} -> {late / MIB:.1f} MiB")
    assert late - early < 10 * MIB
