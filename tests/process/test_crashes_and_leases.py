"""What happens to tasks when workers die, freeze or are slow: statements 1 to 5 and 7."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.waiting import until
from tests.support.world import LEASE_S


def test_kill_9_with_50_tasks_in_flight_and_waiting_loses_none(world):
    world.enqueue("gate", 50)
    doomed = world.start_worker("doomed", concurrent=20)
    until(lambda: len(world.journal("start")) == 20, what="twenty tasks run")
    doomed.kill()
    world.assert_conserved()
    assert world.in_flight() == 20

    world.open_gate()
    world.start_worker("rescuer", concurrent=20)
    world.all_settled()
    assert world.totals()["succeeded"] == 50
    assert world.totals()["reclaimed"] == 20


def test_a_live_worker_takes_over_from_a_dead_one_within_two_leases(world):
    lease_s = 2 * LEASE_S
    world.enqueue("gate", id="orphan")
    doomed = world.start_worker("doomed", worker={"lease": lease_s})
    until(lambda: world.runs()["orphan"], what="the task runs")
    world.start_worker("idle", worker={"lease": lease_s})
    time.sleep(lease_s)  # an idle worker that holds its lease; the bound counts from the kill
    doomed.kill()
    died = world.now()
    until(lambda: world.runs()["orphan"] == 2, 20, "the other worker runs it")
    took_s = world.journal("start")[-1].at - died
    assert took_s < 2 * lease_s + 2, f"{took_s:.2f} s with a lease of {lease_s} s"


def test_the_time_to_recovery_does_not_depend_on_the_task_timeout(world):
    tasks = {"gate": {"timeout": 3600}}
    world.enqueue("gate", id="orphan")
    doomed = world.start_worker("doomed", tasks=tasks)
    until(lambda: world.runs()["orphan"], what="the task runs")
    doomed.kill()
    world.start_worker("rescuer", tasks=tasks)
    until(lambda: world.runs()["orphan"] == 2, 20, "the task runs again")


def test_a_task_orphaned_twice_in_a_row_is_run_by_the_third_worker(world):
    world.enqueue("gate", id="unlucky")
    for turn in (1, 2):
        doomed = world.start_worker(f"doomed{turn}")
        until(lambda turn=turn: world.runs()["unlucky"] == turn, 10, f"delivery {turn}")
        doomed.kill()
    world.open_gate()
    world.start_worker("third")
    world.all_settled()
    assert world.totals()["succeeded"] == 1


def test_a_task_longer_than_the_lease_runs_once_beside_an_idle_worker(world):
    world.enqueue("sleep", id="long", s=4 * LEASE_S)
    world.start_worker("first")
    until(lambda: world.runs()["long"], what="the task runs")
    world.start_worker("second")
    world.all_settled()
    assert world.runs()["long"] == 1
    assert world.totals()["reclaimed"] == 0


def test_a_handler_that_blocks_the_event_loop_for_leases_keeps_its_task(world):
    world.enqueue("block", id="blocks", s=4 * LEASE_S)
    first = world.start_worker("first")
    until(lambda: world.runs()["blocks"], what="the task runs")
    world.start_worker("second")
    assert first.get("/metrics", timeout_s=3)[0] == 200
    assert first.get("/livez", timeout_s=3)[0] == 200
    assert world.settled() == 0, "it holds the loop still"
    world.all_settled()
    assert world.runs()["blocks"] == 1
    assert world.totals()["reclaimed"] == 0


def test_a_long_task_keeps_its_lease_while_its_worker_drains(world):
    world.enqueue("sleep", id="long", s=4 * LEASE_S)
    first = world.start_worker("first", worker={"drain_timeout": 30})
    until(lambda: world.runs()["long"], what="the task runs")
    world.start_worker("second")
    first.terminate()
    first.ends_well()
    assert world.runs()["long"] == 1
    assert world.totals()["succeeded"] == 1
    assert world.totals()["reclaimed"] == 0


def test_a_frozen_worker_loses_its_claim_and_settles_nothing(world):
    world.enqueue("sleep", id="frozen", s=0.5)
    frozen = world.start_worker("frozen")
    until(lambda: world.runs()["frozen"], what="the task runs")
    frozen.pause()
    world.start_worker("other")
    until(lambda: world.totals()["succeeded"] == 1, 10, "the other worker has done it")
    frozen.resume()
    until(lambda: frozen.metric("worker_claims_lost_total") == 1, what="the lost claim is counted")
    world.assert_conserved()
    assert world.totals()["succeeded"] == 1
    assert world.runs()["frozen"] == 2


def test_a_poison_task_dies_alone(world):
    world.enqueue("die", id="poison")
    world.enqueue("sleep", 39, s=0.1)
    deadline = time.monotonic() + 60
    worker = world.start_worker(wait=False, concurrent=10)
    deaths = 0
    while world.settled() < 40 and time.monotonic() < deadline:
        if not worker.alive:
            deaths += 1
            worker = world.start_worker(wait=False, concurrent=10)
        time.sleep(0.05)  # a supervisor that starts it again
    world.assert_conserved()
    totals = world.totals()
    assert (totals["dead"], totals["succeeded"]) == (1, 39)
    assert deaths == 3
    (letter,) = world.dead()
    assert json.loads(letter["raw"])["data"]["id"] == "poison"
    assert world.runs()["poison"] == 3


def test_what_a_worker_holds_when_it_is_asked_to_drain_by_redis_is_kept(world):
    world.enqueue("gate", id="running")
    worker = world.start_worker(worker={"drain_timeout": 20})
    until(lambda: world.runs()["running"], what="the task runs")
    (member,) = world.redis.zrange(world.keys.workers, 0, -1)
    world.redis.hset(world.keys.control, member, "drain")
    worker.logged("drain")
    world.open_gate()
    worker.ends_well()
    assert world.totals()["succeeded"] == 1


def test_workers_that_leave_or_die_leave_no_trace(world):
    gone = world.start_worker("gone")
    assert gone.drain() == 0
    assert world.redis.zcard(world.keys.workers) == 0
    killed = world.start_worker("killed")
    until(lambda: world.redis.zcard(world.keys.workers) == 1, what="its lease is there")
    killed.kill()
    stays = world.start_worker("stays")
    until(lambda: world.redis.zcard(world.keys.workers) == 1, 10, "the dead one is forgotten")
    until(lambda: world.redis.hlen(world.keys.about) == 1, 10, "so is its description")
    assert stays.alive


@pytest.mark.parametrize("workers", [4])
def test_many_workers_with_a_busy_scan_run_each_of_5000_tasks_once(world, workers):
    for number in range(workers):
        world.start_worker(f"w{number}", concurrent=10, worker={"interval": 0.1})
    world.enqueue("note", 5000)
    world.all_settled(60)
    assert set(world.runs().values()) == {1}
    assert world.totals()["reclaimed"] == 0
    assert sum(world.runs().values()) == 5000
