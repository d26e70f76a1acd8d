"""Several lists of one queue, served by real workers: at once, in order, and through every end."""

from __future__ import annotations

import json
import statistics
import time

from tests.support.processes import run_to_end
from tests.support.waiting import until

STRICT = ["urgent", "async_tasks", "bulk"]
LOOK_S = 1.0  # between the looks of a worker that nothing wakes
SLOW_LOOK = {"interval": LOOK_S, "lease": 4 * LOOK_S}
NAMES = ("urgent", "async_tasks", "bulk")


def task(type_, **data):
    return json.dumps({"type": type_, "data": data})


def test_a_push_to_any_of_the_lists_wakes_an_idle_worker_at_once(world):
    worker = world.start_worker(queue={"lists": STRICT}, worker=SLOW_LOOK)
    worker.logged("queue async_tasks (lists urgent, async_tasks, bulk)")
    for name in NAMES:
        took_s = []
        for _ in range(7):
            pushed = time.monotonic()
            world.push(task("note", id=name), to=name)
            until(lambda: world.settled() == world.accepted, 5, f"the task of {name} is done")
            took_s.append(time.monotonic() - pushed)
        assert statistics.median(took_s) < LOOK_S / 5, "the look of every second would take half"
    world.assert_conserved()


def test_while_every_slot_is_taken_what_waits_first_is_the_first_list(world):
    worker = world.start_worker(queue={"lists": STRICT}, concurrent=1)
    world.push(task("gate", id="holds"))
    until(lambda: world.runs()["holds"], what="the only slot is taken")
    for name in reversed(NAMES):
        world.push(*(task("note", id=f"{name}{n}") for n in range(5)), to=name)
    until(lambda: worker.metric("worker_list_waiting", list="urgent") == 5, 10, "the gauge")
    world.open_gate()
    world.all_settled()
    order = [one.id.rstrip("01234") for one in world.journal("start")][1:]
    assert order == [name for name in NAMES for _ in range(5)]


def test_a_single_slot_leaves_what_else_arrived_to_an_idle_worker(world):
    for name in ("one", "two"):
        world.start_worker(name, queue={"lists": STRICT}, worker=SLOW_LOOK, concurrent=1)
    took_s = []
    for _ in range(7):
        pipe = world.redis.pipeline()
        for name in ("urgent", "bulk"):
            pipe.lpush(name, task("sleep", id=name, s=0.4))
        pipe.execute()
        world.accepted += 2
        before = time.monotonic()
        until(lambda: world.settled() == world.accepted, 10, "both are done")
        took_s.append(time.monotonic() - before - 0.4)
    assert statistics.median(took_s) < LOOK_S / 5, "the other worker's look would take half"
    world.assert_conserved()


def test_a_killed_worker_loses_nothing_of_any_list(world):
    first = world.start_worker(queue={"lists": ["urgent=3", "async_tasks=2", "bulk=1"]})
    for name in NAMES:
        world.push(*(task("sleep", id=f"{name}{n}", s=0.05) for n in range(30)), to=name)
    until(lambda: world.settled() > 10, what="some are done")
    first.kill()
    world.start_worker(queue={"lists": STRICT})
    world.all_settled(30)
    assert set(world.runs()) == {f"{name}{n}" for name in NAMES for n in range(30)}


def test_a_drained_worker_gives_its_tasks_back_before_every_list(world):
    worker = world.start_worker(queue={"lists": STRICT}, worker={"drain_timeout": 0.5})
    world.push(*(task("sleep", id=n, s=30) for n in range(5)), to="bulk")
    until(lambda: len(world.journal("start")) == 5, what="they run")
    assert worker.drain() == 0
    world.assert_conserved()
    entries = world.redis.lrange(world.keys.redeliver, 0, -1)
    assert [json.loads(e.split(b"|", 1)[1])["data"]["id"] for e in reversed(entries)] == [*range(5)]


def test_the_commands_count_every_list(world, type_in):
    world.start_worker(queue={"lists": STRICT}, concurrent=1)
    world.push(task("gate", id="holds"))
    until(lambda: world.runs()["holds"], what="the only slot is taken")
    for name in reversed(NAMES):
        world.push(task("note", id=name), to=name)
    told = type_in("status", "--over", "0", as_json=True)
    assert told["lists"] == {"urgent": 1, "async_tasks": 1, "bulk": 1}
    assert told["depth"]["waiting"] == 3
    assert "lists      async_tasks 1, bulk 1, urgent 1" in type_in("status", "--over", "0")
    assert "3" in type_in("queue", "count")
    world.open_gate()
    world.all_settled()


def test_lists_come_back_into_the_count_after_redis_lost_everything(world):
    worker = world.start_worker(queue={"lists": STRICT})
    world.redis.flushdb()
    until(lambda: world.redis.scard(world.keys.lists) == 3, 10, "they are registered again")
    assert worker.alive


def test_a_unique_task_pushed_later_to_a_faster_list_is_never_dropped(world):
    world.start_worker(queue={"lists": STRICT}, concurrent=1, tasks={"note": {"unique": True}})
    world.push(task("gate", id="holds"))
    until(lambda: world.runs()["holds"], what="the only slot is taken")
    for n in range(20):
        world.push(task("sleep", id=f"other{n}", s=0.1))
    world.push(json.dumps({"type": "note", "id": "x", "data": {"id": "x1"}}), to="urgent")
    world.open_gate()
    until(lambda: world.runs()["x1"], what="the first of the id ran")
    world.push(json.dumps({"type": "note", "id": "x", "data": {"id": "x2"}}), to="urgent")
    world.all_settled()
    assert world.runs()["x2"] == 1
    assert world.totals()["dead"] == 0


def test_loadgen_pushes_to_a_list_and_follows_the_queue(world):
    world.start_worker("one", queue={"lists": STRICT})
    config = ["--config", str(world.folder / "one.yaml")]

    def loadgen(*args):
        return run_to_end("loadgen", *args, *config, cwd=world.folder)

    done = loadgen("--mix", "note=3", "--list", "urgent", "--allow-unknown", "--yes")
    assert "3 sent = 3 succeeded" in done.stdout
    assert "to 'urgent'" in done.stderr
    done = loadgen(
        "run",
        "--mix",
        "note=1",
        "--allow-unknown",
        "--yes",
        "--rate",
        "40",
        "--duration",
        "1s",
        "--queues",
        "urgent=3,bulk=1",
    )
    assert "40 sent = 40 succeeded + 0 failed + 0 lost" in done.stdout
    done = loadgen("--mix", "noop=3", "--list", "urgant")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "there is urgent, async_tasks, bulk" in done.stderr
