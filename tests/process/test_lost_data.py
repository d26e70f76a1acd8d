"""Redis comes back without its data, or with older data: the log says once what that means."""

from __future__ import annotations

from tests.support.waiting import until


def lost(worker):
    told = ("Redis has lost its data", "Redis has older data")
    return [line for line in worker.log().splitlines() if any(one in line for one in told)]


def claims_lost(world, worker, count):
    """Let the handlers end, and wait until their worker knows that nobody asks for the results."""
    world.open_gate()
    until(lambda: worker.metric("worker_claims_lost_total") == count, what="their claims are lost")


def works_on(world, count):
    """New tasks run as before; what was accepted before is not counted."""
    world.accepted = world.settled() + world.waiting() + world.in_flight()
    world.enqueue("note", count)
    world.all_settled()


def test_a_restart_without_persistence_is_said_once_with_what_it_means(server, world_on):
    own = server(appendonly=False)
    world = world_on(own.url)
    worker = world.start_worker(concurrent=2)
    world.enqueue("gate", 5)
    until(lambda: len(world.runs()) == 2, what="two tasks run")
    own.kill()
    own.start()
    until(lambda: lost(worker), 20, "the worker says it")
    [line] = lost(worker)
    assert "ERROR" in line and "The 2 tasks in hand run on" in line and "is gone" in line
    claims_lost(world, worker, 2)
    assert (
        "is not in flight any more: another worker has it, or Redis lost its data" in worker.log()
    )
    works_on(world, 10)
    assert len(lost(worker)) == 1
    assert world.redis.get(world.keys.version) == b"1"


def test_a_flushed_server_is_said_by_each_worker_once_and_each_time_anew(server, world_on):
    world = world_on(server().url)
    workers = [world.start_worker(name) for name in ("a", "b")]
    for times in (1, 2):
        world.redis.flushall()
        for worker in workers:
            until(lambda w=worker, n=times: len(lost(w)) == n, what=lambda w=worker: w.log())
        works_on(world, 5)
    assert [len(lost(worker)) for worker in workers] == [2, 2]


def test_a_restored_snapshot_is_said_with_what_it_means(server, world_on):
    own = server(appendonly=False)
    world = world_on(own.url)
    worker = world.start_worker()
    world.enqueue("note", 3)
    world.all_settled()
    world.redis.save()
    world.enqueue("reject", 4)
    world.all_settled()
    until(lambda: worker.metric("worker_queue_depth", state="dead") == 4, what="it has looked")
    own.kill()
    own.start()
    until(lambda: lost(worker), 20, "the worker says it")
    [line] = lost(worker)
    assert "Redis has older data" in line and "4 claims are missing" in line
    works_on(world, 5)
    assert len(lost(worker)) == 1


def test_a_foreign_value_in_the_key_that_tells_it_is_not_taken_for_lost_data(world):
    worker = world.start_worker()
    pipe = world.redis.pipeline(transaction=True)
    pipe.delete(world.keys.origin)
    pipe.lpush(world.keys.origin, "x")
    pipe.execute()
    world.enqueue("reject", 3)
    world.all_settled()
    until(lambda: worker.metric("worker_queue_depth", state="dead") == 3, what="it has looked")
    assert lost(worker) == []


def test_an_ordinary_restart_says_nothing_of_data(server, world_on):
    own = server()
    world = world_on(own.url)
    worker = world.start_worker()
    world.enqueue("note", 3)
    world.all_settled()
    own.stop()
    until(lambda: worker.get("/readyz")[0] == 503, what="the outage is noticed")
    own.start()
    world.enqueue("note", 3)
    world.all_settled()
    worker.drain()
    assert lost(worker) == []
