"""Limits per type: in one worker, in all workers, by rate; what is blocked holds nobody back."""

from __future__ import annotations

import itertools
import os
import time

import pytest

from tests.support.said import said
from tests.support.waiting import until

HANDLERS = ["tests.support.author_handlers"]


def start(world, name, concurrent=10, **tasks):
    return world.start_worker(name, handlers=HANDLERS, concurrent=concurrent, tasks=tasks)


def most_at_once(lines):
    """The most that ran at the same time."""
    running = most = 0
    for line in sorted(lines, key=lambda one: (one["at"], one["event"] == "start")):
        running += 1 if line["event"] == "start" else -1
        most = max(most, running)
    return most


def starts(world):
    return [line for line in said(world.folder) if line.get("event") == "start"]


def test_a_worker_runs_no_more_of_a_type_than_its_limit(world):
    limit = {"concurrency": 2}
    workers = [start(world, name, limited=limit) for name in ("one", "two")]
    world.enqueue("limited", 40)
    world.all_settled(40)
    lines = said(world.folder)
    for worker in workers:
        assert most_at_once([line for line in lines if line["pid"] == worker.pid]) == 2
    assert world.totals()["succeeded"] == 40


def test_all_workers_together_run_no_more_of_a_type_than_its_limit(world):
    for name in ("one", "two", "three"):
        start(world, name, limited={"max_concurrent_total": 3})
    world.enqueue("limited", 60, s=0.03)
    world.all_settled(40)
    assert most_at_once(said(world.folder)) == 3
    assert len(starts(world)) == 60
    until(lambda: world.redis.scard("{async_tasks}:holders:limited") == 0, what="no holder is left")


def test_a_blocked_type_holds_nobody_back_and_counts_as_waiting(world):
    world.enqueue("gated", 100)
    world.enqueue("says", 50)
    worker = start(world, "one", concurrent=5, gated={"max_concurrent_total": 1})
    until(lambda: world.settled() == 50, 20, "all of the other type are done")
    until(lambda: world.in_flight() == 1 and world.held() == 99, 10, "the rest is held")
    world.assert_conserved()
    until(lambda: worker.metric("worker_queue_depth", state="waiting") == 99, 10, "the gauge")
    assert worker.metric("worker_queue_held") == 99
    world.open_gate()
    world.all_settled(60)
    assert [line["id"] for line in starts(world) if "same" not in line][:100] == list(range(100))


@pytest.mark.parametrize("limit", [{"concurrency": 2}, {"rate_limit": "20/s"}], ids=str)
def test_held_tasks_go_on_beside_a_backlog_of_other_types(world, limit):
    world.enqueue("limited", 20, s=0.01)
    world.enqueue("sleeps", 3000, s=0.01)
    start(world, "one", concurrent=5, limited=limit)
    until(lambda: len(_of(world, "limited")) == 20, 20, "all of the limited type have started")
    assert world.waiting() > 500, "the backlog is still there"
    world.all_settled(60)
    assert world.totals()["succeeded"] == 3020


def _of(world, kind):
    return [line for line in starts(world) if line.get("type") == kind]


def test_what_a_limit_held_runs_once_no_worker_has_the_limit_any_more(world):
    limited = start(world, "limited", gated={"concurrency": 1})
    world.enqueue("gated", 50)
    until(lambda: (world.in_flight(), world.held()) == (1, 49), what="the rest is held")
    unlimited = start(world, "unlimited", concurrent=60)
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 1.5, what="some looks beside one that has the limit")
    assert world.held() == 49, "the limit of the other one stands"
    limited.kill()
    until(lambda: world.held() == 0, 10, "nothing is held")
    until(lambda: len({line["id"] for line in starts(world) if line["pid"] == unlimited.pid}) == 50)
    world.open_gate()
    world.all_settled()
    world.assert_conserved()


def test_a_raised_rate_holds_at_once(world):
    slow = start(world, "slow", limited={"rate_limit": "1/d"})
    world.enqueue("limited", 10)
    until(lambda: world.held() == 9, what="one has started, the others are held")
    assert slow.drain() == 0
    start(world, "fast", limited={"rate_limit": "50/s"})
    world.all_settled(20)
    assert world.totals()["succeeded"] == 10


def test_while_everything_is_blocked_nobody_spins(world):
    world.enqueue("gated", 200)
    limit = {"max_concurrent_total": 1}
    workers = [start(world, name, gated=limit) for name in ("one", "two")]
    until(lambda: world.held() == 199, 20, "all but one are held")
    took = _cpu_s(workers)
    commands = world.redis.info("stats")["total_commands_processed"]
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 2.5, 5, "some seconds of blocked life")
    busy = (_cpu_s(workers) - took) / (time.monotonic() - began) / len(workers)
    asked = world.redis.info("stats")["total_commands_processed"] - commands
    assert busy < 0.05, f"{busy:.1%} of a CPU each"
    assert asked < 2000, asked
    assert (world.in_flight(), world.held()) == (1, 199)
    world.open_gate()
    world.all_settled(60)


def _cpu_s(workers):
    total = 0
    for worker in workers:
        with open(f"/proc/{worker.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def test_a_worker_that_is_killed_leaks_no_place(world):
    limit = {"max_concurrent_total": 2}
    doomed = start(world, "doomed", gated=limit)
    world.enqueue("gated", 6)
    until(lambda: len(starts(world)) == 2, what="two run")
    other = start(world, "other", gated=limit)
    until(lambda: world.held() == 4, what="four are held")
    doomed.kill()
    until(lambda: len(starts(world)) == 4, 20, "two more run")
    assert {line["pid"] for line in starts(world)[2:]} == {other.pid}
    world.open_gate()
    world.all_settled()
    assert world.totals()["succeeded"] == 6


def test_after_a_kill_nothing_of_a_rate_or_of_what_was_held_is_left(world):
    limits = {"rate_limit": "20/s", "concurrency": 2, "max_concurrent_total": 3, "unique": True}
    doomed = start(world, "doomed", gated=limits)
    for number in range(30):
        world.enqueue("gated", id=number, extra={"id": f"x{number}"})
    until(lambda: len(starts(world)) == 2, what="two run")
    other = start(world, "other", gated=limits)
    until(lambda: len(starts(world)) == 3 and world.held() > 20, what="three run, most are held")
    doomed.kill()
    until(lambda: len(starts(world)) == 4, 20, "a place is free again")
    assert starts(world)[-1]["pid"] == other.pid
    world.assert_conserved()
    world.open_gate()
    world.all_settled()
    assert world.totals()["succeeded"] == 30, "each once, what had been held too"
    times = [line["at"] for line in starts(world)]
    assert most_within(times, 0.98) <= 21, "what the dead worker let through counts too"
    names = ("held", "marks", "held:gated", "holders:gated", "unique:gated", "rate:gated")
    for name in names:
        until(lambda n=name: not world.redis.exists(f"{{async_tasks}}:{n}"), 5, f"{name} is gone")


def test_a_place_freed_by_a_release_goes_to_another_worker(world):
    limit = {"max_concurrent_total": 1}
    first = world.start_worker(
        "first", handlers=HANDLERS, worker={"drain_timeout": 0.2}, tasks={"gated": limit}
    )
    world.enqueue("gated", 3)
    until(lambda: len(starts(world)) == 1, what="one runs")
    start(world, "second", gated=limit)
    assert first.drain() == 0
    until(lambda: len(starts(world)) == 2, 10, "the other worker runs one")
    world.open_gate()
    world.all_settled()


def most_within(times, window_s):
    return max(sum(at <= other < at + window_s for other in times) for at in times)


@pytest.mark.parametrize("workers", [4])
def test_four_workers_together_keep_a_rate_over_any_second(world, workers):
    for number in range(workers):
        start(world, f"w{number}", limited={"rate_limit": "100/s"})
    world.enqueue("limited", 300, s=0)
    world.all_settled(40)
    times = sorted(line["at"] for line in starts(world))
    assert len(times) == 300
    # Seen in the handlers, so what lies between Redis and them is in it: 5 ms either way.
    assert most_within(times, 0.99) <= 105
    took_s = times[-1] - times[0]
    assert 299 / took_s <= 105
    assert 299 / took_s > 70


@pytest.mark.parametrize(("limit", "period_s", "tasks"), [("5/10s", 10, 7), ("5/2s", 2, 16)])
def test_of_a_rate_of_few_four_workers_never_start_one_too_many(world, limit, period_s, tasks):
    for number in range(4):
        start(world, f"w{number}", limited={"rate_limit": limit})
    world.enqueue("limited", tasks, s=0)
    until(lambda: starts(world), what="the first has started")
    # Handlers block the loops beside it; tests/integration/test_rates.py makes a start surely late.
    while len(starts(world)) < tasks:
        world.enqueue("hogs", 4, s=0.4)
        until(lambda: not hogs(world), 10, "they have ended")
    world.all_settled()
    times = sorted(line["at"] for line in starts(world))
    assert most_within(times, period_s) == 5
    assert times[-1] - times[0] < 1.5 * (tasks - 1) * period_s / 5, (
        "and hardly slower than it may be"
    )


def hogs(world):
    return [
        raw for raw in (*world.items(), *world.redis.hvals(world.keys.inflight)) if b"hogs" in raw
    ]


def test_a_slow_rate_is_evenly_spaced(world):
    start(world, "one", limited={"rate_limit": "300/m"})
    world.enqueue("limited", 10, s=0)
    world.all_settled(20)
    times = sorted(line["at"] for line in starts(world))
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert sorted(gaps)[4] > 0.1, "most are; a handler that begins late makes the next gap short"
    assert sum(gaps) > 9 * 0.2 - 0.1


def test_a_limited_task_that_nothing_blocks_starts_at_once(world):
    worker = {"interval": "60s", "lease": "20s"}  # the next look is a second away
    world.start_worker(
        "one", handlers=HANDLERS, worker=worker, tasks={"limited": {"max_concurrent_total": 2}}
    )
    took = []
    for number in range(8):
        asked = time.monotonic()
        world.enqueue("limited", id=number, s=0)
        until(lambda n=number: len(starts(world)) > n, what="it has started")
        took.append(starts(world)[-1]["at"] - asked)
    assert sorted(took)[4] < 0.3, took


def test_limits_of_one_type_do_not_touch_another(world):
    start(world, "one", limited={"concurrency": 1}, gated={"max_concurrent_total": 1})
    world.enqueue("gated", 5)
    world.enqueue("limited", 20, s=0)
    until(lambda: world.settled() == 20, 20, "the others are done")
    world.open_gate()
    world.all_settled()


def test_a_type_with_any_name_can_be_limited(world):
    odd = "a b/{x}:|\n任务"
    worker = world.start_worker(
        "one", handlers=["tests.support.any_type"], tasks={odd: {"max_concurrent_total": 1}}
    )
    world.enqueue(odd, 20, s=0.01)
    world.all_settled(20)
    assert most_at_once(said(world.folder)) == 1
    assert all(b"\n" not in key for key in world.redis.keys("{async_tasks}:*"))
    assert worker.alive


def test_the_limits_of_a_default_handler_hold_for_unknown_types_together(world):
    world.start_worker(
        "one", handlers=["tests.support.any_type"], tasks={"*": {"concurrency": 2}}, concurrent=9
    )
    for kind in range(30):
        world.enqueue(f"kind{kind}", id=kind, s=0.02)
    world.all_settled(20)
    assert most_at_once(said(world.folder)) == 2
    assert len(world.redis.keys("{async_tasks}:*kind*")) == 0


def test_limited_tasks_retry_and_fail_like_others(world):
    start(world, "one", fails_once={"max_concurrent_total": 2, "rate_limit": "1000/s"})
    world.enqueue("fails_once", 40)
    world.all_settled(20)
    totals = world.totals()
    assert (totals["succeeded"], totals["retried"]) == (40, 40)


def test_max_tasks_counts_no_held_task(world):
    world.enqueue("limited", 12, s=0.01)
    worker = world.start_worker(
        None,
        "--max-tasks",
        "5",
        wait=False,
        handlers=HANDLERS,
        concurrent=4,
        tasks={"limited": {"max_concurrent_total": 1}},
    )
    worker.ends_well(20)
    assert world.totals()["succeeded"] == 5
    assert world.waiting() == 7
    world.assert_conserved()


def test_held_tasks_come_back_after_a_restart_of_redis(server, world_on):
    redis = server()
    world = world_on(redis.url)
    start(world, "one", limited={"max_concurrent_total": 1})
    world.enqueue("limited", 30, s=0.05)
    until(lambda: world.held() > 10, what="some are held")
    redis.stop()
    redis.start()
    world.all_settled(30)
    assert most_at_once(said(world.folder)) == 1
