"""Redis absent, stopped, restarted, refusing or stalled: statement 10, and the loss of replies."""

from __future__ import annotations

import json

import pytest

from taskrig_loadgen.chaos.fault_proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import until
from tests.support.world import LEASE_S


@pytest.fixture
def own(server):
    return server()


@pytest.fixture
def world(own, world_on):
    return world_on(own.url)


def test_a_worker_started_before_redis_waits_for_it(tmp_path, world_on):
    late = RedisServer(tmp_path / "late")
    world = world_on(late.url)
    worker = world.start_worker(wait=False, redis={"connect_timeout": 30})
    worker.logged("redis", 20)
    try:
        late.start()
        until(worker.ready, 20, "the worker is ready")
        world.enqueue("note", 3)
        world.all_settled()
    finally:
        worker.close()
        late.close()


def test_a_worker_that_never_reached_redis_claims_nothing_of_what_the_queue_holds(
    tmp_path, world_on
):
    """Zeros would read as a jump of dead letters and of the backlog at the first look."""
    late = RedisServer(tmp_path / "late")
    world = world_on(late.url)
    worker = world.start_worker(wait=False, redis={"connect_timeout": 30})
    worker.logged("redis", 20)
    told = ("depth{", "held ", "oldest_age_seconds ")
    try:
        page = worker.get("/metrics")[1]
        assert "worker_tasks_total{" in page
        assert [one for one in told if f"\nworker_queue_{one}" in page] == []
        assert "\nworker_dead_letters_trimmed_total{" not in page
        assert json.loads(worker.get("/status")[1])["depth"] == {}
        late.start()
        until(worker.ready, 20, "the worker is ready")
        page = worker.get("/metrics")[1]
        assert [one for one in told if f"\nworker_queue_{one}" not in page] == []
        assert json.loads(worker.get("/status")[1])["depth"]["dead"] == 0
    finally:
        worker.close()
        late.close()


def test_three_restarts_of_redis_in_a_row_lose_nothing_and_work_goes_on(own, world):
    worker = world.start_worker(concurrent=10)
    for _ in range(3):
        world.enqueue("sleep", 30, s=0.05)
        until(lambda: world.in_flight() > 0, what="tasks run")
        own.stop()
        own.start()
        world.all_settled(30)
    assert worker.alive
    assert world.totals()["succeeded"] == 90


def test_kill_9_of_redis_with_an_append_only_file_loses_nothing(own, world):
    worker = world.start_worker(concurrent=10)
    world.enqueue("sleep", 200, s=0.02)
    until(lambda: world.settled() > 20, what="some are done")
    own.kill()
    own.start()
    world.all_settled(30)
    assert worker.alive


def test_running_handlers_end_during_an_outage_and_are_settled_after_it(own, world):
    world.enqueue("gate", id="running")
    worker = world.start_worker()
    until(lambda: world.runs()["running"], what="the task runs")
    own.stop()
    until(lambda: worker.get("/readyz")[0] == 503, what="/readyz says no")
    assert worker.get("/livez")[0] == 200
    world.open_gate()
    until(lambda: world.journal("end"), what="the handler ends without Redis")
    own.start()
    world.all_settled()
    assert world.runs()["running"] == 1
    until(lambda: worker.get("/readyz")[0] == 200, what="/readyz says yes")


def test_a_batch_that_gathers_when_an_outage_begins_runs_once_and_is_settled_after_it(own, world):
    handlers = ["tests.support.batch_handlers"]
    world.enqueue("insert", 20)
    world.start_worker(handlers=handlers, tasks={"insert": {"linger": "4s"}})
    until(lambda: world.in_flight() == 20, what="all gather")
    own.stop()
    until(lambda: world.journal("done"), 20, "the batch ends without Redis")
    own.start()
    world.all_settled()
    assert [one.id for one in world.journal("batch")] == [list(range(20))]
    assert world.totals()["succeeded"] == 20


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(own, world):
    worker = world.start_worker()
    before = len(worker.log().splitlines())
    own.stop()
    until(lambda: worker.get("/readyz")[0] == 503, what="the outage is noticed")
    until(lambda: worker.metric("worker_redis_up") == 0, what="the metric says so")
    until(lambda: sum_of_errors(worker) >= 5, 15, "several attempts have failed")
    own.start()
    until(lambda: worker.get("/readyz")[0] == 200, 15, "the worker is back")
    said = worker.log().splitlines()[before:]
    assert len(said) <= 4, said


def sum_of_errors(worker):
    return worker.metric("worker_redis_errors_total")


def test_two_workers_keep_their_tasks_through_an_outage_of_three_leases(own, world):
    world.enqueue("sleep", 2, s=6 * LEASE_S)
    for name in ("a", "b"):
        world.start_worker(name, concurrent=1)
    until(lambda: len(world.journal("start")) == 2, what="each worker runs one")
    began = world.now()
    own.stop()
    until(lambda: world.now() - began > 3 * LEASE_S, 10, "three leases have passed")
    own.start()
    world.all_settled(30)
    assert set(world.runs().values()) == {1}, "the first one back robbed the other"
    assert world.totals()["reclaimed"] == 0


def test_an_outage_beyond_the_limit_ends_the_worker_with_exit_3(own, world):
    worker = world.start_worker(redis={"max_outage": "1s"})
    own.stop()
    assert worker.exit_code(15) == 3
    assert "Traceback" not in worker.log()


def test_a_drain_during_an_outage_ends_in_time(own, world):
    world.enqueue("sleep", id="running", s=0.5)
    worker = world.start_worker(worker={"drain_timeout": 2})
    until(lambda: world.runs()["running"], what="the task runs")
    own.stop()
    worker.terminate()
    code = worker.exit_code(10)
    assert code in (0, 3)
    own.start()
    world.start_worker("next")
    world.all_settled()


def test_a_stalled_server_is_noticed_and_survived(own, world):
    worker = world.start_worker(concurrent=3)
    world.enqueue("sleep", 20, s=0.1)
    until(lambda: world.settled() > 2, what="some are done")
    own.pause()
    until(lambda: worker.get("/readyz")[0] == 503, 15, "the stall is noticed")
    own.resume()
    world.all_settled(30)
    assert worker.alive


@pytest.mark.parametrize("kind", ["normal", "all"])
def test_killed_clients_come_back(own, world, kind):
    worker = world.start_worker(concurrent=3)
    for turn in range(5):
        world.enqueue("note", 20)
        if kind == "normal":
            world.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        else:
            world.redis.execute_command("CLIENT", "KILL", "USER", "default", "SKIPME", "yes")
        until(lambda turn=turn: world.settled() == 20 * (turn + 1), 15, "the turn is done")
    world.assert_conserved()
    assert worker.alive


def test_flushed_scripts_are_loaded_again(own, world):
    worker = world.start_worker()
    for turn in range(3):
        world.redis.script_flush()
        world.enqueue("note", 10)
        until(lambda turn=turn: world.settled() == 10 * (turn + 1), what="the turn is done")
    assert worker.alive


def test_a_server_that_loads_its_data_is_waited_for(own, world):
    worker = world.start_worker()
    world.enqueue("note", 2000)
    world.redis.execute_command("DEBUG", "RELOAD")
    world.all_settled(30)
    assert worker.alive


def test_a_read_only_replica_is_survived(own, world):
    worker = world.start_worker()
    world.redis.execute_command("REPLICAOF", "127.0.0.1", "1")  # nobody there: data is kept
    world.redis.config_set("replica-read-only", "yes")
    until(lambda: worker.get("/readyz")[0] == 503, 15, "the worker notices")
    world.redis.execute_command("REPLICAOF", "NO", "ONE")
    world.enqueue("note", 10)
    world.all_settled(20)
    assert worker.alive


def test_a_full_server_is_emptied_by_its_workers(own, world):
    world.enqueue("note", 2000)
    world.redis.config_set("maxmemory-policy", "noeviction")
    world.redis.config_set("maxmemory", "1mb")
    worker = world.start_worker(concurrent=10)
    until(lambda: world.settled() == 2000, 30, "the full server is emptied")
    world.redis.config_set("maxmemory", "0")
    world.enqueue("note", 10)
    world.all_settled()
    assert worker.alive


def test_a_dangerous_eviction_policy_is_warned_of(own, world):
    world.redis.config_set("maxmemory-policy", "allkeys-lru")
    worker = world.start_worker()
    assert "allkeys-lru" in worker.log()


def test_a_password_changed_under_way_is_recovered_from_or_ends_in_exit_3(own, world):
    worker = world.start_worker(redis={"max_outage": "20s"})
    world.redis.config_set("requirepass", "changed")
    world.redis.execute_command("AUTH", "changed")
    world.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    until(lambda: not worker.alive or worker.get("/readyz")[0] == 503, 15, "it is noticed")
    world.redis.config_set("requirepass", "")
    world.enqueue("note", 5)
    until(lambda: not worker.alive or world.settled() == 5, 20, "recovered or ended")
    if not worker.alive:
        assert worker.exit_code() == 3
        world.start_worker("next")
    world.all_settled()


@pytest.mark.parametrize(
    "key",
    [
        *("queue", "inflight", "meta", "workers", "about", "control", "arrivals", "redeliver"),
        *("delayed", "dead", "dead_index", "dead_from", "stats", "paused", "alone", "reclaiming"),
    ],
)
def test_a_key_set_to_a_wrong_type_under_a_live_worker_loses_nothing(own, world, key):
    worker = world.start_worker(concurrent=3)
    world.enqueue("sleep", 6, s=0.2)
    until(lambda: len(world.journal("start")) >= 3, what="tasks run")
    name = getattr(world.keys, key)
    aside = f"{world.keys.stats}.aside"
    pipe = world.redis.pipeline(transaction=True)
    if world.redis.exists(name):
        pipe.rename(name, aside)
    pipe.set(name, "x") if key not in ("paused", "alone", "reclaiming") else pipe.lpush(name, "x")
    pipe.execute()
    until(lambda: not worker.alive or len(world.journal("end")) >= 3, 10, "handlers go on")
    pipe = world.redis.pipeline(transaction=True)
    pipe.delete(name)
    if world.redis.exists(aside):
        pipe.rename(aside, name)
    pipe.execute()
    if not worker.alive:
        assert worker.exit_code() in (1, 2, 3)
        assert "Traceback" not in worker.log()
        world.start_worker("next")
    world.all_settled(25)
    assert len(world.runs()) == 6, "every task ran"


@pytest.fixture
def wired(own, world_on):
    """A world whose workers reach Redis over a wire; the test itself has the direct way."""
    wire = FaultProxy("127.0.0.1", own.port).start()
    world = world_on(own.url)
    world.url = f"redis://127.0.0.1:{wire.port}/0"
    yield wire, world
    wire.close()


@pytest.mark.parametrize("call", [b"EVALSHA", b"BLMOVE"])
def test_a_reply_lost_on_the_wire_strands_nothing(wired, call):
    wire, world = wired
    worker = world.start_worker(concurrent=4)
    for turn in range(5):
        wire.eat_reply(call)
        world.enqueue("note", 20)
        until(lambda turn=turn: wire.eaten == turn + 1, 15, "a reply is eaten")
        until(lambda turn=turn: world.settled() == 20 * (turn + 1), 15, "the turn is done")
    world.assert_conserved()
    assert worker.alive
    assert world.in_flight() == 0
    assert len(world.journal("start")) == 100


def test_a_task_whose_claim_rode_on_a_lost_move_is_asked_for_not_reclaimed(wired):
    wire, world = wired
    world.start_worker(concurrent=1)
    for turn in range(5):
        wire.eat_reply(b"BLMOVE")
        world.enqueue("note", id=turn)
        until(lambda turn=turn: wire.eaten == turn + 1, 15, "a reply is eaten")
        until(lambda turn=turn: world.settled() == turn + 1, 15, "the task is done")
    assert world.totals()["reclaimed"] == 0
    assert set(world.runs().values()) == {1}
    world.assert_conserved()


def test_a_wire_that_is_cut_and_mended_under_load_loses_nothing(wired):
    wire, world = wired
    worker = world.start_worker(concurrent=10)
    world.enqueue("sleep", 200, s=0.02)
    for done in (20, 60, 100):
        until(lambda done=done: world.settled() >= done, 20, f"{done} are done")
        wire.cut()
        until(lambda: worker.get("/readyz")[0] == 503, 10, "the cut is noticed")
        wire.mend()
    world.all_settled(30)
    assert worker.alive


def test_a_wire_that_swallows_everything_is_noticed_and_survived(wired):
    wire, world = wired
    worker = world.start_worker(concurrent=4)
    world.enqueue("sleep", 40, s=0.05)
    until(lambda: world.settled() >= 5, 20, "some are done")
    wire.blackhole()
    until(lambda: worker.get("/readyz")[0] == 503, 20, "the silence is noticed")
    wire.mend()
    world.all_settled(30)
    assert worker.alive


def test_a_slow_wire_only_makes_things_slow(wired):
    wire, world = wired
    wire.slow(0.05)
    world.enqueue("note", 50)
    world.start_worker(concurrent=10)
    world.all_settled(30)
    assert set(world.runs().values()) == {1}
