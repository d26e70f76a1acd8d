"""What a worker shows of itself: complete from the first scrape, true, bounded, and in time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from taskrig.task import REASONS
from tests.support.waiting import until


def series_of(page):
    """Every series of a page, by its full name."""
    lines = [line for line in page.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_every_configured_type_and_reason_is_there_at_0_before_the_first_task(world):
    worker = world.start_worker(
        handlers=["taskrig.handlers", "tests.support.handlers"],
        tasks={"named_in_the_config": {"timeout": 5}},
    )
    configured = ("fast_task", "slow_task", "email", "file_process", "note", "named_in_the_config")
    for kind in configured:
        for outcome in ("succeeded", "failed"):
            assert worker.metric("worker_tasks_total", type=kind, outcome=outcome) == 0
    for reason in REASONS:
        assert worker.metric("worker_invalid_items_total", reason=reason) == 0
    for state in ("waiting", "in_flight", "delayed", "dead"):
        assert worker.metric("worker_queue_depth", state=state) == 0
    assert worker.metric("worker_redis_up") == 1


def test_the_default_page_is_under_300_series_without_creation_times(world):
    worker = world.start_worker(handlers=["taskrig.handlers"])
    page = worker.get("/metrics")[1]
    assert len(series_of(page)) < 300
    assert "_created" not in page


def test_promtool_accepts_the_page(world):
    if shutil.which("promtool") is None:
        assert not os.environ.get("CI"), "promtool must be installed in CI"
        pytest.skip("promtool is not installed (it comes with Prometheus)")
    world.enqueue("note", 20)
    world.enqueue("reject", id="fails")
    world.push("not json")
    worker = world.start_worker()
    world.all_settled()
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=worker.get("/metrics")[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_numbers_are_those_of_the_queue(world):
    world.enqueue("note", 30)
    world.enqueue("reject", 4)
    world.push("not json", "[]")
    world.enqueue("gate", 2)
    worker = world.start_worker(concurrent=2)
    until(lambda: world.settled() == 36, what="all but the gates are done")
    world.enqueue("note", 7)
    until(
        lambda: worker.metric("worker_queue_depth", state="waiting") == 7,
        what="what waits is shown",
    )
    assert worker.metric("worker_queue_depth", state="in_flight") == 2
    assert worker.metric("worker_queue_depth", state="dead") == 6
    assert worker.metric("worker_tasks_total", type="note", outcome="succeeded") == 30
    assert worker.metric("worker_tasks_total", type="reject", outcome="failed") == 4
    assert worker.metric("worker_tasks_in_flight", type="gate") == 2
    assert worker.metric("worker_invalid_items_total") == 2
    assert worker.metric("worker_task_longest_running_seconds") > 0
    assert worker.metric("worker_task_duration_seconds_count", type="note") == 30
    world.open_gate()
    world.all_settled()


def test_what_limits_hold_back_shows_by_type_and_for_types_with_limits_only(world):
    limits = {
        "gate": {"max_concurrent_total": 1},
        "sleep": {"concurrency": 3},
        "note": {"retries": 1},
    }
    workers = [world.start_worker(concurrent=5, tasks=limits) for _ in range(2)]
    assert workers[0].metric("worker_tasks_held", type="gate") == 0
    world.enqueue("gate", 7)
    for worker in workers:
        until(lambda one=worker: one.metric("worker_tasks_held", type="gate") == 6, what="six")
    shown = [name for name in series_of(workers[0].get("/metrics")[1]) if "tasks_held" in name]
    assert shown == ['worker_tasks_held{type="gate"}', 'worker_tasks_held{type="sleep"}']
    world.open_gate()
    world.all_settled()
    until(lambda: workers[0].metric("worker_tasks_held", type="gate") == 0, what="none is left")


def test_a_long_task_in_flight_shows_although_the_list_is_empty(world):
    world.enqueue("gate", id="long")
    worker = world.start_worker()
    until(lambda: world.runs()["long"], what="the task runs")
    assert world.redis.llen(world.keys.queue) == 0
    until(
        lambda: worker.metric("worker_queue_depth", state="in_flight") == 1,
        what="an autoscaler sees that it works",
    )
    world.open_gate()
    world.all_settled()


def test_wait_is_observed_from_enqueued_at_and_only_where_it_is_given(world):
    world.enqueue("note", 3)
    world.enqueue("note", 2, extra={"enqueued_at": world.redis.time()[0] - 20})
    worker = world.start_worker()
    world.all_settled()
    until(
        lambda: worker.metric("worker_task_wait_seconds_count", type="note") == 2,
        what="two waits are observed",
    )
    assert worker.metric("worker_task_wait_seconds_sum", type="note") >= 39


def test_a_handler_that_blocks_the_loop_shows_as_lag_and_does_not_stop_the_probes(world):
    world.enqueue("block", id="blocks", s=4)
    worker = world.start_worker()
    until(lambda: world.runs()["blocks"], what="the task runs")
    assert worker.get("/livez", timeout_s=3)[0] == 200
    assert worker.get("/metrics", timeout_s=3)[0] == 200
    assert world.settled() == 0, "it holds the loop still"
    world.all_settled()
    assert worker.metric("worker_event_loop_lag_seconds") > 0.5


def test_handlers_that_hold_the_loop_are_told_once_a_type_and_others_never(world):
    world.enqueue("note", 2000)  # together they keep it busy, each of them for no time
    world.enqueue("sleep", 20, s=0.3)
    for kind in ("block", "compute"):
        world.enqueue(kind, 3, s=0.3)
    worker = world.start_worker(concurrent=100)
    world.all_settled()
    log = worker.logged("handlers.compute, the handler of compute, held the event loop for ")
    assert "handlers.block, the handler of block, held the event loop for " in log
    assert log.count("held the event loop") == 2


def test_a_paused_queue_shows(world):
    worker = world.start_worker()
    world.redis.set(world.keys.paused, "1")
    until(lambda: worker.metric("worker_paused") == 1, what="the pause is shown")
    world.enqueue("note", 3)
    assert worker.get("/livez")[0] == 200
    world.redis.delete(world.keys.paused)
    world.all_settled()


def test_no_secret_is_on_any_page_or_in_the_log(server, world_on):
    own = server(password="hush-hush-secret")
    world = world_on(own.url)
    world.enqueue("raise", id="fails", kind="ValueError")
    worker = world.start_worker(None, "--log-level", "debug")
    world.all_settled()
    pages = "".join(
        worker.get(path)[1] for path in ("/metrics", "/status", "/livez", "/readyz", "/")
    )
    own.stop()
    until(lambda: worker.get("/readyz")[0] == 503, what="the outage is noticed")
    own.start()
    until(lambda: worker.get("/readyz")[0] == 200, what="it is over")
    worker.drain()
    assert "hush-hush" not in pages + worker.log()
    for key in world.redis.keys("*about*"):
        assert b"hush-hush" not in world.redis.dump(key)


def test_records_say_when_and_where_each_execution_was(world):
    for index in range(5):
        world.enqueue("sleep", id=index, s=0.1, extra={"run": f"r:{index}"})
    worker = world.start_worker(concurrent=5)
    world.all_settled()
    records = [one.split() for one in world.redis.lrange(world.keys.run("r"), 0, -1)]
    assert sorted(one[0] for one in records) == [b"0", b"1", b"2", b"3", b"4"]
    seconds = world.redis.time()[0]
    for _, outcome, start, end, name, deliveries, lost, settled in records:
        assert (outcome, deliveries, lost) == (b"succeeded", b"1", b"0")
        assert re.fullmatch(rb"[0-9a-f]+", name)
        assert seconds - 60 < float(start) < float(end) <= float(settled) + 0.05
        assert 0.09 < float(end) - float(start) < 2
    assert worker.alive
