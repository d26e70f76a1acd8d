"""Handlers that take batches: each task of one is claimed, settled and counted on its own."""

from __future__ import annotations

import re
import signal
from collections import Counter

import pytest

from tests.support.waiting import until

HANDLERS = ["tests.support.batch_handlers", "tests.support.handlers"]
FORMS = ["insert", "insert_blocking", "insert_process", "insert_coroutine"]


@pytest.fixture
def start(world):
    """Start a worker with these handlers; its settings of the types by name."""

    def start_worker(**settings):
        return world.start_worker(**{"concurrent": 40, "handlers": HANDLERS, **settings})

    return start_worker


def batches(world, event="batch"):
    """The ids of each batch that began, in order."""
    return [note.id for note in world.journal(event)]


def ids(world, event="batch"):
    """How often each id was in a batch."""
    return Counter(one for batch in batches(world, event) for one in batch)


def gathered(world, count):
    until(lambda: world.in_flight() == count and world.waiting() == 0, what=f"{count} gathered")


@pytest.mark.parametrize("kind", FORMS)
def test_a_full_batch_begins_at_once_and_the_rest_when_it_has_lingered(world, start, kind):
    worker = start(tasks={kind: {"batch": 10, "linger": "500ms"}})
    world.enqueue(kind, 25)
    world.all_settled()
    assert ids(world) == Counter(range(25))
    assert sorted(len(batch) for batch in batches(world)) == [5, 10, 10]
    assert world.totals()["succeeded"] == 25
    assert worker.metric("worker_tasks_total", type=kind, outcome="succeeded") == 25
    assert worker.metric("worker_batch_size_count", type=kind) == 3
    assert worker.metric("worker_batch_size_sum", type=kind) == 25
    assert worker.metric("worker_task_duration_seconds_count", type=kind) == 3
    assert worker.metric("worker_tasks_in_flight", type=kind) == 0


@pytest.mark.parametrize("kind", FORMS)
def test_batch_failed_fails_those_that_it_names_and_no_others(world, start, kind):
    for index in range(6):
        world.enqueue(kind, id=index, **({"fail": "error"} if index in (1, 4) else {}))
    world.enqueue(kind, id=6, fail="reject")
    start()
    world.all_settled()
    totals = world.totals()
    assert (totals["succeeded"], totals["failed"]) == (4, 3)
    letters = [(one["reason"].decode(), one["error"].decode()) for one in world.dead()]
    assert sorted(letters) == [
        ("error", "ValueError: no 1"),
        ("error", "ValueError: no 4"),
        ("rejected", "Reject: no 6"),
    ]


@pytest.mark.parametrize("kind", FORMS)
def test_an_exception_fails_all_and_each_is_retried_on_its_own(world, start, kind):
    world.enqueue(kind, 5)
    world.enqueue(kind, id="bad", boom=True)
    worker = start(tasks={kind: {"retries": 2, "backoff": 0}})
    world.all_settled()
    totals = world.totals()
    assert totals["retried"] + totals["failed"] + totals["succeeded"] >= 6
    assert ids(world)["bad"] == 3, "its first run and two retries"
    letters = world.dead()
    assert {one["error"] for one in letters} == {b"ValueError: boom of bad"}
    assert all(b"in _end" in one["traceback"] for one in letters), "each has the traceback"
    assert totals["succeeded"] + totals["failed"] == 6
    assert re.search(r"batch \d+ ended .*the first error: ValueError: boom of bad", worker.log())


def test_a_retried_task_of_a_batch_waits_as_it_was_asked(world, start):
    world.enqueue("insert", id="again", fail="retry")
    world.enqueue("insert", id="good")
    start(tasks={"insert": {"retries": 1, "backoff": 0}})
    world.all_settled()
    assert ids(world) == Counter({"again": 2, "good": 1})
    assert (world.totals()["retried"], world.totals()["failed"]) == (1, 1)


@pytest.mark.parametrize("kind", ["insert", "insert_blocking"])
def test_a_kill_in_the_middle_of_a_batch_loses_none_of_it(world, start, kind):
    first = start()
    world.enqueue(kind, 20, s=60)
    until(lambda: len(ids(world)) == 20, what="all 20 run")
    first.kill()
    assert world.totals()["succeeded"] == 0 and world.in_flight() == 20
    start(tasks={kind: {"timeout": "300ms"}})
    world.all_settled()
    assert ids(world) == Counter(dict.fromkeys(range(20), 2)), "each ran again, once"
    assert {one["deliveries"] for one in world.dead()} == {b"2"}


def test_a_kill_while_a_batch_gathers_loses_none_of_it(world, start):
    first = start(tasks={"insert": {"linger": "1h"}})
    world.enqueue("insert", 20)
    gathered(world, 20)
    first.kill()
    assert batches(world) == []
    start()
    world.all_settled()
    assert ids(world) == Counter(range(20))


def test_what_gathers_for_longer_than_a_lease_is_not_taken_for_left_behind(world, start):
    start(tasks={"insert": {"linger": "5s"}}, worker={"lease": 1})
    world.enqueue("insert", 20)
    world.all_settled()
    assert world.totals()["reclaimed"] == 0
    assert batches(world) == [list(range(20))]


def test_a_drain_gives_back_what_gathers_at_once_in_its_order_and_counts_no_delivery(world, start):
    worker = start(tasks={"insert": {"linger": "1h"}}, worker={"drain_timeout": 300})
    world.enqueue("insert", 20)
    gathered(world, 20)
    pushed = [world.redis.hget(world.keys.inflight, tag) for tag in inflight(world)]
    assert worker.drain(60) == 0, "it waits for nothing"
    assert batches(world) == [] and world.in_flight() == 0
    assert world.items() == pushed, "oldest first"
    assert world.redis.llen(world.keys.redeliver) == 0
    world.assert_conserved()


def inflight(world):
    """The tags in flight, in the order of their claims."""
    tags = world.redis.hkeys(world.keys.inflight)
    return sorted(tags, key=lambda tag: int(tag.rpartition(b":")[2]))


@pytest.mark.parametrize("kind", FORMS)
def test_a_drain_lets_a_batch_that_runs_finish(world, start, kind):
    worker = start()
    world.enqueue(kind, 20, s=1)
    until(lambda: ids(world), what="a batch runs")
    running = sum(ids(world).values())
    assert worker.drain() == 0
    assert world.totals()["succeeded"] >= running
    assert world.in_flight() == 0
    world.assert_conserved()


def test_a_batch_that_outlives_the_drain_is_given_back_whole(world, start):
    worker = start(worker={"drain_timeout": 0.3})
    world.enqueue("insert", 20, s=60)
    until(lambda: len(ids(world)) == 20)
    pushed = [world.redis.hget(world.keys.inflight, tag) for tag in inflight(world)]
    assert worker.drain() == 0
    assert set(batches(world, "stopped")) == {"released"}
    assert world.items() == pushed
    world.assert_conserved()


def test_a_task_on_its_last_delivery_is_a_batch_of_its_own(world, start):
    """So a poison task takes no others with it."""
    world.enqueue("insert", 9)
    world.enqueue("insert", id="poison", dies=True)
    for _ in range(3):
        worker = start(worker={"max_deliveries": 2})
        until(lambda w=worker: not w.alive or world.settled() == 10, 20)
        if world.settled() == 10:
            break
        worker.kill()
    world.all_settled()
    assert world.totals()["succeeded"] == 9
    assert [one["reason"] for one in world.dead()] == [b"poison"]
    alone = [batch for batch in batches(world) if "poison" in batch]
    assert len(alone[0]) > 1 and alone[1:] == [["poison"]]


def test_where_the_first_delivery_is_the_last_every_batch_has_one_task(world, start):
    world.enqueue("insert", 12, s=0.01)
    start(concurrent=3, worker={"max_deliveries": 1}, handlers=HANDLERS[:1])
    world.all_settled()
    assert [len(batch) for batch in batches(world)] == [1] * 12


def test_max_tasks_is_exact_with_batches(world, start):
    world.enqueue("insert", 30)
    worker = start(wait=False, worker={"max_tasks": 12}, tasks={"insert": {"batch": 5}})
    worker.ends_well(30)
    assert world.totals()["succeeded"] == 12
    assert len(world.items()) == 18
    world.assert_conserved()


def test_a_rate_limit_counts_tasks(world, start):
    world.enqueue("insert", 40)
    start(tasks={"insert": {"rate_limit": "20/s", "batch": 10}})
    world.all_settled()
    notes = world.journal("batch")
    assert ids(world) == Counter(range(40))
    assert notes[-1].at - notes[0].at > 0.8, "40 at 20/s take about two seconds"


def test_a_concurrency_limit_counts_tasks(world, start):
    world.enqueue("insert", 40, s=0.05)
    start(tasks={"insert": {"concurrency": 8, "batch": 20}})
    world.all_settled()
    assert ids(world) == Counter(range(40))
    assert max(len(batch) for batch in batches(world)) <= 8


def test_a_batch_whose_type_is_paused_while_it_gathers_is_set_aside_in_its_order(
    world, start, type_in
):
    start(tasks={"insert": {"linger": "20s"}})
    world.enqueue("insert", 20)
    gathered(world, 20)
    type_in("pause", "--type", "insert")
    until(lambda: world.in_flight() == 0, what="it is set aside")
    assert batches(world) == []
    type_in("resume", "--type", "insert")
    world.all_settled(40)
    assert [one for batch in batches(world) for one in batch] == list(range(20))


def test_an_id_that_gathers_is_a_duplicate_for_others(world, start):
    for index in range(3):
        world.enqueue("insert", id=index, extra={"id": "same"})
    world.enqueue("insert", id="other", extra={"id": "other"})
    start(tasks={"insert": {"unique": True, "linger": "300ms"}})
    world.all_settled()
    assert ids(world) == Counter({0: 1, "other": 1})
    assert [one["reason"] for one in world.dead()] == [b"duplicate"] * 2


def test_what_a_batch_handler_returns_is_ignored_unless_it_has_yet_to_run(world, start):
    world.enqueue("returns", 3)
    world.enqueue("forgets", 2)
    start()
    world.all_settled()
    assert (world.totals()["succeeded"], world.totals()["failed"]) == (3, 2)
    assert all(b"returned a coroutine" in one["error"] for one in world.dead())


@pytest.mark.parametrize("kind", FORMS)
def test_a_timeout_is_one_for_the_whole_batch_and_fails_each(world, start, kind):
    world.enqueue(kind, 5, s=3)
    start(tasks={kind: {"timeout": "300ms", "linger": "300ms"}})
    world.all_settled()
    assert [one["reason"] for one in world.dead()] == [b"timeout"] * 5
    assert all(b"batch_handlers.py" in one["traceback"] for one in world.dead())


def test_a_process_that_ends_fails_each_task_of_its_batch(world, start):
    world.enqueue("insert_process", 4)
    world.enqueue("insert_process", id="bad", dies=True)
    worker = start(tasks={"insert_process": {"linger": "300ms"}})
    world.all_settled()
    assert {one["reason"] for one in world.dead()} == {b"crashed"}
    together = next(len(batch) for batch in batches(world) if "bad" in batch)
    assert world.totals()["failed"] == together
    assert worker.metric("worker_task_process_ends_total", reason="crashed") == 1


def test_status_and_the_dump_of_running_tasks_show_a_batch_as_one(world, start, type_in):
    worker = start()
    world.enqueue("insert", 5, gated=True)
    until(lambda: len(ids(world)) == 5)
    running = until(lambda: worker.status()["running"], what="it is told")
    assert sum(one["batch"] for one in running) == 5
    until(lambda: "insert" in type_in("status"), what="the worker's description is there")
    assert re.search(r"\w+:\d+ +insert +[\d.]+ s +a batch of \d", type_in("status"))
    worker.signal(signal.SIGUSR1)
    worker.logged("(insert, a batch of ")
    world.open_gate()
    world.all_settled()


def test_a_cancelled_task_leaves_the_batch_that_gathers(world, start, type_in):
    start(tasks={"insert": {"linger": "1500ms"}})
    world.enqueue("insert", 5)
    gathered(world, 5)
    tag = inflight(world)[2].decode()
    type_in("cancel", tag)
    world.all_settled()
    assert batches(world) == [[0, 1, 3, 4]]
    assert [one["reason"] for one in world.dead()] == [b"cancelled"]


@pytest.mark.parametrize("place", [0, 2])
def test_a_task_cancelled_in_a_batch_that_runs_is_dead_and_the_others_run_again(
    world, start, type_in, place
):
    start()
    world.enqueue("insert", 5, gated=True)
    until(lambda: len(ids(world)) == 5)
    type_in("cancel", inflight(world)[place].decode())
    world.open_gate()
    world.all_settled()
    assert batches(world, "stopped") == ["cancelled"]
    assert [one["reason"] for one in world.dead()] == [b"cancelled"]
    assert world.totals()["succeeded"] == 4
    assert ids(world, "done") == Counter(one for one in range(5) if one != place)
    assert world.totals()["retried"] == 0


def test_the_context_of_a_batch_has_one_of_each_task_and_refuses_what_is_one_tasks(world, start):
    world.enqueue("asks", 3)
    worker = start(tasks={"asks": {"linger": "300ms"}})
    world.all_settled()
    asked = batches(world, "asked")
    assert len(asked[-1]) >= 1 and asked[-1][-1][1] in (1, 2)
    first = asked[0]
    assert len({tag for _, _, tag in first}) == len(first)
    assert all("context().each" in text for text in batches(world, "said"))
    assert re.search(r"\w+:\d+ and 2 more \(asks\): asked", worker.log())


@pytest.mark.parametrize("handlers", [HANDLERS[:1], HANDLERS], ids=["only batches", "mixed"])
def test_items_of_many_bytes_are_bounded_in_number_by_their_bytes(world, start, handlers):
    """16 MiB of a type are in a worker's hands at most, beside one task a slot."""
    for index in range(60):
        world.enqueue("insert", id=index, gated=True, fill="x" * 2**20)
    tasks = {"insert": {"linger": "8s"}}
    start(queue={"max_item_bytes": "2MiB"}, concurrent=2, handlers=handlers, tasks=tasks)
    until(lambda: batches(world), 30, "a batch runs")
    seen = until(lambda: steady(world), 20, "no more is claimed")
    assert 2 <= seen <= 16 + 2, seen
    world.open_gate()
    world.all_settled(80)
    assert ids(world) == Counter(range(60))


def steady(world, seconds=1.0):
    """What is in flight, once it has stayed the same for a while."""
    seen, since = world.in_flight(), world.now()
    while world.now() - since < seconds:
        if world.in_flight() != seen:
            return 0
    return seen


@pytest.mark.parametrize("handlers", [HANDLERS[:1], HANDLERS], ids=["only batches", "mixed"])
def test_10000_tasks_through_batches_of_500_are_counted_exactly(world, start, handlers):
    world.enqueue("insert", 10_000)
    worker = start(handlers=handlers, concurrent=5, log={"tasks": "none"})
    world.all_settled(60)
    assert ids(world) == Counter(range(10_000))
    assert max(len(batch) for batch in batches(world)) <= 500
    assert worker.metric("worker_tasks_total", type="insert", outcome="succeeded") == 10_000
    assert worker.metric("worker_batch_size_sum", type="insert") == 10_000


def test_plain_tasks_beside_batches_keep_their_slots(world, start):
    worker = start(concurrent=3, tasks={"insert": {"batch": 50, "linger": "20ms"}})
    for index in range(300):
        world.enqueue("insert" if index % 3 else "sleep", id=index, s=0.005)
    world.all_settled(30)
    assert world.totals()["succeeded"] == 300
    assert max(one.running for one in world.journal("start")) <= 3
    assert worker.drain() == 0


def test_a_batch_waits_for_a_slot_and_plain_tasks_do_not_starve_it(world, start):
    start(concurrent=1)
    world.enqueue("insert", id="batched")
    for index in range(100):
        world.enqueue("sleep", id=index, s=0.01)
    world.all_settled(30)
    assert ids(world) == Counter({"batched": 1})
    before = [one.event for one in world.journal() if one.event in ("start", "batch")]
    assert before.index("batch") < 90, "it began among them, not after them"
