"""`unique`: of one type and id at most one waits or runs; the others are dead."""

from __future__ import annotations

import time

from tests.support.said import said
from tests.support.waiting import until

HANDLERS = ["tests.support.author_handlers"]
MARKS = "{async_tasks}:marks"
UNIQUE = {"gated": {"unique": True}, "fails_once": {"unique": True}}


def start(world, name, concurrent=10):
    return world.start_worker(name, handlers=HANDLERS, tasks=UNIQUE, concurrent=concurrent)


def marks(world):
    return world.redis.hlen("{async_tasks}:unique:gated")


def test_a_second_one_is_dead_while_the_first_runs_in_whatever_worker(world):
    start(world, "one"), start(world, "two")
    world.enqueue("gated", id="first", extra={"id": "user-5"})
    until(lambda: said(world.folder), what="it runs")
    for number in range(8):
        world.enqueue("gated", id=number, extra={"id": "user-5"})
    until(lambda: world.totals()["dead"] == 8, what="the others are dead")
    assert {letter["reason"] for letter in world.dead()} == {b"duplicate"}
    world.open_gate()
    world.all_settled()
    until(lambda: marks(world) == 0, what="no mark is left")
    world.enqueue("gated", id="later", extra={"id": "user-5"})
    world.all_settled()
    assert world.totals()["succeeded"] == 2


def test_five_pushes_in_a_row_run_once_though_each_waits_until_the_one_before_has_ended(world):
    world.open_gate()
    for number in range(5):
        world.enqueue("gated", id=number, extra={"id": "x"})
    start(world, "one", concurrent=1)
    world.all_settled()
    assert [line["id"] for line in said(world.folder)] == [0, 0]
    assert world.totals()["dead"] == 4


def test_of_two_pushed_in_a_row_one_runs_though_two_workers_end_them_in_no_time(world):
    ids = 200
    for number in range(ids):
        world.enqueue("limited", 2, s=0, extra={"id": f"x{number}"})
    for name in ("one", "two"):
        world.start_worker(
            name, handlers=HANDLERS, tasks={"limited": {"unique": True}}, concurrent=1, wait=False
        )
    world.all_settled(40)
    totals = world.totals()
    assert (totals["succeeded"], totals["dead"]) == (ids, ids)


def test_what_is_pushed_after_the_end_runs_though_older_duplicates_still_wait(world):
    world.enqueue("gated", id="first", extra={"id": "x"})
    start(world, "one", concurrent=1)
    until(lambda: said(world.folder), what="it runs")
    world.enqueue("says", 20)
    world.enqueue("gated", id="older", extra={"id": "x"})
    world.open_gate()
    until(lambda: marks(world) == 0 and len(said(world.folder)) > 1, what="it has ended")
    world.enqueue("gated", id="later", extra={"id": "x"})
    world.all_settled()
    ran = [line["id"] for line in said(world.folder) if line.get("event") == "start"]
    assert ran == ["first", "later"]


def test_a_barrier_that_outlived_its_queue_drops_nothing(world):
    world.redis.zadd("{async_tasks}:barriers:gated", {"x": 1_000_000})
    start(world, "one")
    world.open_gate()
    until(lambda: not world.redis.zcard("{async_tasks}:barriers:gated"), what="the look clears it")
    world.enqueue("gated", id="later", extra={"id": "x"})
    world.all_settled()
    assert world.totals()["succeeded"] == 1


def test_what_a_leaving_worker_gives_back_is_no_duplicate_of_itself(world):
    leaving = world.start_worker(
        "leaving", handlers=HANDLERS, tasks=UNIQUE, concurrent=1, worker={"drain_timeout": 0.2}
    )
    world.enqueue("gated", id="first", extra={"id": "x"})
    until(lambda: said(world.folder), what="it runs")
    world.enqueue("gated", id="second", extra={"id": "x"})
    assert leaving.drain() == 0
    world.open_gate()
    start(world, "other", concurrent=1)
    world.all_settled()
    ran = [line["id"] for line in said(world.folder) if line["event"] == "start"]
    assert ran == ["first", "first"]


def test_other_ids_and_tasks_without_one_run_beside_it(world):
    start(world, "one")
    for name in ("a", "b"):
        world.enqueue("gated", id=name, extra={"id": name})
    world.enqueue("gated", 2)
    until(lambda: len(said(world.folder)) == 4, what="all four run")
    world.open_gate()
    world.all_settled()
    assert world.totals()["dead"] == 0


def test_a_killed_worker_leaves_no_mark_and_its_task_runs_again(world):
    doomed = start(world, "doomed")
    world.enqueue("gated", id="first", extra={"id": "x"})
    until(lambda: said(world.folder), what="it runs")
    doomed.kill()
    start(world, "rescuer")
    until(lambda: len(said(world.folder)) == 2, 20, "it runs again")
    world.enqueue("gated", id="second", extra={"id": "x"})
    until(lambda: world.totals()["dead"] == 1, what="the second is a duplicate")
    world.open_gate()
    world.all_settled()
    until(lambda: marks(world) == 0, what="no mark is left")


def test_a_mark_that_nobody_took_away_is_found(world):
    world.redis.hset("{async_tasks}:unique:gated", "x", "gone:1")
    world.redis.hset("{async_tasks}:unique:gated", "y", "gone:2")
    world.redis.hset(MARKS, "gone:2", "gated y")
    start(world, "one")
    until(lambda: marks(world) == 0, 20, "the stale marks are gone")
    assert not world.redis.exists(MARKS)


def test_while_it_waits_for_its_retry_another_is_dead_and_it_runs_itself(world):
    start(world, "one")
    world.enqueue("fails_once", id="first", after=1.5, extra={"id": "x"})
    until(lambda: world.redis.zcard(world.keys.delayed) == 1, what="it waits for its retry")
    world.enqueue("fails_once", id="second", extra={"id": "x"})
    until(lambda: world.totals()["dead"] == 1, what="the second is dead")
    world.all_settled()
    assert [line["id"] for line in said(world.folder)] == ["first", "first"]
    until(lambda: world.redis.hlen("{async_tasks}:unique:fails_once") == 0, what="no mark is left")


def test_of_five_for_the_same_later_time_one_runs(world):
    for name in ("one", "two"):
        start(world, name)
    world.open_gate()
    due = time.time() + 1.5
    for number in range(5):
        world.enqueue("gated", id=number, extra={"id": "x", "run_at": due})
    until(lambda: world.totals()["dead"] == 4, what="four are dead before its time")
    assert world.redis.zcard(world.keys.delayed) == 1
    world.all_settled()
    assert len(said(world.folder)) == 2 and world.totals()["succeeded"] == 1
    world.enqueue("gated", id="later", extra={"id": "x"})
    world.all_settled()
    assert world.totals()["succeeded"] == 2
    assert marks(world) == 0 and not world.redis.exists(MARKS)


def test_what_a_killed_worker_ran_has_its_id_while_it_lies_there_to_be_run_again(world, type_in):
    doomed = start(world, "doomed", concurrent=1)
    world.enqueue("gated", id="first", extra={"id": "x"})
    until(lambda: said(world.folder), what="it runs")
    world.enqueue("gated", 3, extra={"id": "x"})
    type_in("pause")
    doomed.kill()
    workers = [start(world, name, concurrent=1) for name in ("one", "two")]
    until(lambda: world.redis.llen(world.keys.redeliver) == 1, 10, "it lies there")
    until(lambda: workers[0].metric("worker_paused") == 1, what="a look at the marks has passed")
    assert marks(world) == 1
    type_in("resume")
    until(lambda: world.totals()["dead"] == 3, what="the others are dead")
    world.open_gate()
    world.all_settled()
    assert {line["id"] for line in said(world.folder)} == {"first"}
    until(lambda: marks(world) == 0 and not world.redis.exists(MARKS), what="no mark is left")


def test_one_that_a_limit_or_a_pause_keeps_back_has_its_id(world, type_in):
    unique = {"unique": True, "max_concurrent_total": 1}
    world.start_worker("one", handlers=HANDLERS, tasks={"gated": unique, "limited": unique})
    world.enqueue("gated", id="runs", extra={"id": "a"})
    until(lambda: said(world.folder), what="one runs")
    world.enqueue("gated", 4, extra={"id": "b"})
    until(lambda: world.totals()["dead"] == 3 and world.held() == 1, what="one of four is held")
    type_in("pause", "--type", "limited")
    until(lambda: world.workers[0].status()["paused_types"], what="it knows")
    world.enqueue("limited", 5, extra={"id": "c"})
    until(lambda: world.totals()["dead"] == 7, what="four of five are dead")
    type_in("resume", "--type", "limited")
    world.open_gate()
    world.all_settled()
    assert world.totals()["succeeded"] == 3
    assert not world.redis.exists(MARKS)


def test_with_many_duplicates_in_the_hands_of_four_workers_each_id_runs_once(world):
    ids, each = 100, 8
    for _ in range(each):
        for number in range(ids):
            world.enqueue("limited", id=number, s=0, extra={"id": f"x{number}"})
    for name in ("one", "two", "three", "four"):
        world.start_worker(
            name, handlers=HANDLERS, tasks={"limited": {"unique": True}}, concurrent=20, wait=False
        )
    world.all_settled(40)
    totals = world.totals()
    assert (totals["succeeded"], totals["dead"]) == (ids, ids * (each - 1))
    assert not world.redis.exists(MARKS)
