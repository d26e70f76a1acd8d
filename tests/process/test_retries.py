"""Failed tasks are tried again where their type asks for it; never otherwise."""

from __future__ import annotations

import itertools
import signal

from tests.support.said import said
from tests.support.waiting import until

HANDLERS = ["tests.support.author_handlers"]


def start(world, name=None, **more):
    return world.start_worker(name, handlers=HANDLERS, **more)


def attempts(world, id_):
    return [line["attempts"] for line in said(world.folder) if line["id"] == id_]


def test_a_failed_task_is_tried_again_until_it_succeeds(world):
    world.enqueue("flaky", id="f", good=3)
    start(world)
    world.all_settled()
    assert attempts(world, "f") == [1, 2, 3]
    totals = world.totals()
    assert (totals["succeeded"], totals["retried"], totals["failed"]) == (1, 2, 0)


def test_after_the_last_retry_it_has_failed_for_good_and_says_how_often_it_was_tried(world):
    world.enqueue("flaky", id="f", good=99)
    start(world)
    world.all_settled()
    assert attempts(world, "f") == [1, 2, 3, 4]
    (letter,) = world.dead()
    assert letter["reason"] == b"error"
    assert letter["attempts"] == b"4"
    assert b"not yet" in letter["error"]


def test_without_retries_a_failure_is_final(world):
    world.enqueue("flaky", id="f", good=2)
    start(world, tasks={"flaky": {"retries": 0}})
    world.all_settled()
    assert attempts(world, "f") == [1]
    assert world.totals()["failed"] == 1


def test_the_wait_before_a_retry_is_drawn_below_a_bound_that_doubles(world):
    world.enqueue("flaky", 40, good=3)
    start(world, concurrent=40, tasks={"flaky": {"backoff": "400ms", "backoff_max": "500ms"}})
    world.all_settled()
    waits = {1: [], 2: []}
    for number in range(40):
        first, second, third = [one["at"] for one in said(world.folder) if one["id"] == number]
        waits[1].append(second - first)
        waits[2].append(third - second)
    assert max(waits[1]) < 0.4 + 0.25
    assert max(waits[2]) < 0.5 + 0.25
    assert max(waits[1] + waits[2]) > 0.25
    assert min(waits[1] + waits[2]) < 0.15


def test_a_task_may_say_itself_when_it_wants_to_run_again_and_that_counts(world):
    world.enqueue("asks_again", id="a", after=0.3)
    start(world)
    world.all_settled()
    assert attempts(world, "a") == [1, 2, 3]
    times = [line["at"] for line in said(world.folder)]
    assert all(0.3 <= later - sooner < 0.6 for sooner, later in itertools.pairwise(times))
    (letter,) = world.dead()
    assert letter["error"] == b"Retry: the other side is busy"


def test_a_rejected_task_is_not_tried_again(world):
    world.enqueue("hopeless", id="h")
    start(world)
    world.all_settled()
    assert len(said(world.folder)) == 1
    assert world.dead()[0]["reason"] == b"rejected"


def test_a_timeout_is_a_failure_that_is_tried_again(world):
    world.enqueue("slow_at_first", id="s")
    start(world)
    world.all_settled()
    assert attempts(world, "s") == [1, 2]
    assert 0 < said(world.folder)[0]["left_s"] <= 0.2
    assert world.totals()["succeeded"] == 1


def test_a_plain_function_is_tried_again_and_has_its_context_too(world):
    world.enqueue("flaky_thread", id="t", good=2)
    worker = start(world)
    world.all_settled()
    assert attempts(world, "t") == [1, 2]
    assert said(world.folder)[0]["type"] == "flaky_thread"
    worker.logged("(flaky_thread): 100% in a thread, bound")


def test_the_attempts_survive_the_death_of_the_worker(world):
    world.enqueue("dies_at", id="d", dies=2, good=3)
    first = start(world, "doomed", wait=False)
    until(lambda: not first.alive, what="the worker has killed itself")
    start(world, "rescuer")
    world.all_settled()
    seen = [(one["attempts"], one["deliveries"]) for one in said(world.folder)]
    assert seen == [(1, 1), (2, 1), (2, 2), (3, 2)]
    assert world.totals()["retried"] == 2


def test_a_retry_survives_a_restart_of_redis(server, world_on):
    redis = server()
    world = world_on(redis.url)
    world.enqueue("asks_again", id="a", after=0.8)
    start(world)
    until(lambda: world.redis.zcard(world.keys.delayed) == 1, what="it waits for its retry")
    redis.stop()
    redis.start()
    until(lambda: attempts(world, "a") == [1, 2], what="it runs again")
    world.assert_conserved()


def test_interrupted_is_not_failed(world):
    world.enqueue("waits_for_drain", id="w", stubborn=True)
    first = start(world, "first", worker={"drain_timeout": 0.2})
    until(lambda: said(world.folder), what="it runs")
    first.drain()
    assert world.totals()["retried"] == 0
    second = start(world, "second", worker={"drain_timeout": 0.2})
    until(lambda: len(said(world.folder)) == 2, what="it runs again")
    assert attempts(world, "w") == [1, 1]
    second.drain()
    world.assert_conserved()


def test_a_handler_can_see_that_its_worker_drains(world):
    world.enqueue("waits_for_drain", id="w")
    worker = start(world)
    until(lambda: said(world.folder), what="it runs")
    worker.signal(signal.SIGTERM)
    worker.ends_well()
    assert [line["draining"] for line in said(world.folder)] == [False, True]
    assert world.totals()["succeeded"] == 1


def test_hundreds_of_identical_tasks_survive_their_retries(world):
    world.push(*['{"type": "flaky", "data": {"id": "same", "good": 2}}'] * 300)
    start(world, concurrent=100)
    world.all_settled(60)
    assert world.totals()["succeeded"] == 300
    assert world.totals()["retried"] == 300


def test_max_tasks_counts_each_run_that_was_to_be_retried(world):
    world.enqueue("flaky", id="f", good=99)
    worker = world.start_worker(None, "--max-tasks", "2", wait=False, handlers=HANDLERS)
    worker.ends_well(15)
    assert attempts(world, "f") == [1, 2]
    assert world.redis.zcard(world.keys.delayed) == 1
    world.assert_conserved()


def test_a_completion_record_says_retried(world):
    world.enqueue("flaky", id="f", good=2, extra={"run": "r:0"})
    start(world)
    world.all_settled()
    outcomes = [line.split()[1] for line in world.redis.lrange(world.keys.run("r"), 0, -1)]
    assert outcomes == [b"retried", b"succeeded"]
