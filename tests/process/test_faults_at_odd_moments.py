"""Faults at random moments, at single scripts, of clocks and of limits: scaled down here.

`make soak` runs the full counts.
"""

from __future__ import annotations

import random
import time

import pytest

from taskrig.broker import scripts
from taskrig_loadgen.chaos.fault_proxy import FaultProxy
from tests.support.waiting import until
from tests.support.world import LEASE_S


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
def test_sigterm_at_a_random_moment_loses_nothing(world, busy, soak_count):
    rng = random.Random(7)
    for turn in range(soak_count(4, of=100)):
        if busy:
            for index in range(40):
                world.enqueue("sleep", id=f"{turn}.{index}", s=rng.choice((0, 0.01, 0.2)))
        worker = world.start_worker(f"turn{turn}", concurrent=8)
        time.sleep(rng.uniform(0, 0.3))  # the point is the moment, not a condition
        worker.terminate()
        worker.ends_well()
        world.assert_conserved()
        assert world.in_flight() == 0
    world.start_worker("last", concurrent=20)
    world.all_settled(60)
    assert set(world.runs().values()) <= {1, 2}
    assert world.totals()["failed"] == 0


def test_kill_9_at_random_moments_under_load_loses_nothing(world, soak_count):
    rng = random.Random(9)
    world.start_worker("survivor", concurrent=4)
    for turn in range(soak_count(4, of=100)):
        world.enqueue("sleep", 60, s=0.03)
        doomed = world.start_worker(f"doomed{turn}", concurrent=8)
        time.sleep(rng.uniform(0, 0.3))  # the point is the moment, not a condition
        doomed.kill()
        world.assert_conserved()
    world.all_settled(60)
    assert world.totals()["dead"] == 0


def test_a_worker_whose_host_has_a_wrong_clock_neither_robs_nor_is_robbed(world):
    world.enqueue("sleep", id="first", s=3 * LEASE_S)
    world.start_worker("right", concurrent=1)
    until(lambda: world.runs()["first"], what="the task runs")
    fast = ["tests.support.wrong_clock", "tests.support.handlers"]
    world.enqueue("sleep", id="second", s=3 * LEASE_S)
    world.start_worker("an hour fast", concurrent=1, handlers=fast)
    until(lambda: world.runs()["second"], what="the other task runs")
    world.all_settled()
    assert set(world.runs().values()) == {1}
    assert world.totals()["reclaimed"] == 0


@pytest.fixture
def wired(server, world_on):
    """A world whose workers reach Redis over a wire; the test itself has the direct way."""
    own = server()
    wire = FaultProxy("127.0.0.1", own.port).start()
    world = world_on(own.url)
    world.url = f"redis://127.0.0.1:{wire.port}/0"
    yield wire, world
    wire.close()


@pytest.mark.parametrize("script", ["exchange", "renew", "reclaim", "look"])
def test_the_lost_reply_of_each_script_strands_nothing(wired, script):
    wire, world = wired
    sha = getattr(scripts, script.upper()).sha
    world.start_worker("doomed", concurrent=2)
    world.enqueue("gate", 4)
    until(lambda: len(world.journal("start")) == 2, what="two tasks are held")
    world.workers[0].kill()
    world.open_gate()
    wire.eat_reply(sha)
    worker = world.start_worker("rescuer", wait=False, concurrent=4)
    until(lambda: wire.eaten == 1, 15, "the first reply is eaten")
    for eaten in (2, 3):
        if script != "reclaim":  # there is only one scan to do
            wire.eat_reply(sha)
            world.enqueue("note", 10)
            until(lambda eaten=eaten: wire.eaten == eaten, 15, "one more is eaten")
    world.all_settled(30)
    until(lambda: world.in_flight() == 0, 10, "nothing is stranded in flight")
    assert worker.alive


def test_a_server_without_room_for_clients_is_waited_for(server, world_on):
    own = server()
    world = world_on(own.url)
    worker = world.start_worker()
    world.enqueue("gate", id="running")
    until(lambda: world.runs()["running"], what="the task runs")
    world.redis.config_set("maxclients", 1)
    world.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    until(lambda: worker.get("/readyz")[0] == 503, 15, "the worker notices")
    assert worker.get("/livez")[0] == 200
    world.open_gate()
    world.redis.config_set("maxclients", 1000)
    world.enqueue("note", 10)
    world.all_settled(20)
    assert worker.alive


def test_an_idle_worker_is_quiet_and_keeps_its_connections(server, world_on):
    own = server()
    world = world_on(own.url)
    worker = world.start_worker(worker={"interval": 1})
    world.enqueue("note", 1)
    world.all_settled()

    def connections():
        return {one["id"] for one in world.redis.client_list() if "taskrig" in one["name"]}

    before, said = connections(), worker.log()
    began = world.now()
    until(lambda: world.now() - began > 6, 10, "more than a socket timeout of idleness")
    assert connections() == before
    assert len(before) <= 4
    assert worker.log() == said
    assert worker.metric("worker_redis_errors_total") == 0


def test_an_outage_is_not_a_flood_of_log_lines_or_of_attempts(server, world_on):
    own = server()
    world = world_on(own.url)
    worker = world.start_worker()
    lines = len(worker.log().splitlines())
    own.stop()
    began = world.now()
    until(lambda: world.now() - began > 5, 10, "five seconds of outage")
    assert worker.get("/livez")[0] == 200
    assert worker.get("/readyz")[0] == 503
    assert len(worker.log().splitlines()) - lines <= 2
    assert worker.metric("worker_redis_errors_total") < 100
    own.start()
    world.enqueue("note", 3)
    world.all_settled()
