"""One task among many: where it is, what is known of it, and how it is let run or dropped."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.waiting import until

FAR = 1893456000.0  # 2030


def push(world, kind="note", to="", **fields):
    world.push(json.dumps({"type": kind, "data": {"id": fields.get("id", "?")}, **fields}), to=to)


def look(type_in, name, code=0):
    return type_in("task", name, code=code, as_json=True)


# -- worker task ---------------------------------------------------------------------------------


def test_a_waiting_task_is_found_by_its_id_among_others(world, type_in):
    for n in range(2500):
        push(world, id=f"t{n}")
    seen = look(type_in, "t1234")
    assert (seen["state"], seen["type"], seen["data"]) == ("waiting", "note", {"id": "t1234"})
    assert "nothing is known of a task t12345" in type_in("task", "t12345", code=1)
    text = type_in("task", "t7")
    assert "state       waiting" in text and 'data        {"id": "t7"}' in text


@pytest.mark.parametrize(
    ("pushed", "name"),
    [
        ('{"type": "a", "id": "\\u00e9\\u4e2d"}', "é中"),
        ('{"type": "a", "id": "é中"}', "é中"),
        ('{"type": "a", "id": "a\\/\\"b"}', 'a/"b'),
        ('{"type": "a", "id": "\\u0061bc"}', "abc"),
        ('{"type": "a", "id": 42}', "42"),
        ('{"type": "a", "id": "x", "data": "abc"}', None),
        ('{"type": "a", "id": "abcd"}', None),
    ],
)
def test_an_id_is_found_however_its_producer_wrote_it(world, type_in, pushed, name):
    world.push(pushed)
    if name is None:
        look_for_nothing = type_in("task", "abc", code=1)
        assert "nothing is known" in look_for_nothing
    else:
        assert look(type_in, name)["id"] == name


def test_a_running_task_is_found_by_id_and_by_tag_with_its_worker(world, type_in):
    worker = world.start_worker(concurrent=1)
    push(world, "gate", id="g1")
    until(lambda: world.in_flight() == 1)
    [tag] = [one.decode() for one in world.redis.hkeys(world.keys.inflight)]
    seen = until(lambda: (s := look(type_in, "g1"))["running_since"] and s)
    assert (seen["state"], seen["tag"], seen["worker"]) == ("in_flight", tag, tag.split(":")[0])
    assert abs(seen["running_since"] - time.time()) < 60
    assert look(type_in, tag)["id"] == "g1"
    assert worker.pid


def test_delayed_retrying_and_dead_tasks_are_found_with_what_became_of_them(world, type_in):
    world.start_worker(tasks={"raise": {"retries": 3, "backoff": "1h", "backoff_max": "1h"}})
    push(world, id="later", run_at=FAR)
    push(world, "raise", id="again")
    push(world, "nobody", id="gone")
    until(lambda: world.redis.zcard(world.keys.delayed) == 2 and len(world.dead()) == 1)
    later, again, gone = (look(type_in, name) for name in ("later", "again", "gone"))
    assert (later["state"], later["due"], later["attempts"]) == ("delayed", FAR, 0)
    assert (again["state"], again["attempts"]) == ("retrying", 1)
    assert again["due"] > time.time()
    assert (gone["state"], gone["reason"]) == ("failed", "no_handler")
    letter = world.redis.xrange(world.keys.dead)[0][0].decode()
    assert gone["dead_letter"] == letter and "no_handler" in type_in("task", "gone")
    listed = type_in("queue", "list", "--state", "retrying", as_json=True)
    assert [row["id"] for row in listed["tasks"]] == ["again"] and listed["total"] == 2
    text = type_in("queue", "list", "--state", "delayed")
    assert "later" in text and "again" not in text and "1 shown of 2 delayed or retrying" in text


def test_a_task_set_aside_by_a_pause_is_found(world, type_in):
    type_in("pause", "--type", "note")
    world.start_worker()
    push(world, id="p1")
    until(lambda: world.redis.llen(world.keys.held_of("paused:note")) == 1)
    assert look(type_in, "p1")["state"] == "paused"
    assert [r["id"] for r in type_in("queue", "list", "--state", "paused", as_json=True)["tasks"]]
    assert "its type is paused" in type_in("queue", "run-now", "p1", code=1)


def test_a_result_is_shown_and_waited_for(world, type_in):
    document = {"id": "r", "type": "resize", "state": "succeeded", "result": [1], "worker": "w"}
    world.redis.rpush(world.keys.result("r"), json.dumps(document))
    seen = look(type_in, "r")
    assert (seen["state"], seen["type"], seen["result"]["result"]) == ("succeeded", "resize", [1])
    assert "result      [1]" in type_in("task", "r", "--wait", "1")
    world.redis.delete(world.keys.result("r"))
    world.redis.rpush(world.keys.result("r"), "rubbish")
    assert "nothing is known" in type_in("task", "r", code=1)


def test_waiting_for_the_end_of_a_task_ends_with_it(world, type_in):
    push(world, "nobody", id="n1")
    assert type_in("task", "n1", "--wait", "0.1", code=1, as_json=True)["state"] == "waiting"
    world.start_worker()
    assert type_in("task", "n1", "--wait", "30", as_json=True)["state"] == "failed"


# -- worker queue list ---------------------------------------------------------------------------


def test_waiting_tasks_are_listed_in_pages_in_the_order_in_which_they_are_taken(world, type_in):
    for n in range(45):
        push(world, id=f"t{n}")
    world.redis.rpush(world.keys.redeliver, b'w:1:1:0|{"type": "again", "id": "first"}')
    names, after = [], ""
    for _ in range(10):
        page = type_in("queue", "list", "-n", "20", "--after", after, as_json=True)
        names += [row["id"] for row in page["tasks"]]
        after = page["next"]
        if not after:
            break
    assert names == ["first", *(f"t{n}" for n in range(45))] and page["total"] == 46
    assert "is not where a page ended" in type_in("queue", "list", "--after", "x", code=2)


def test_tasks_in_flight_and_what_is_no_task_are_listed(world, type_in):
    world.redis.hset(world.keys.inflight, "w:1", '{"type": "a", "id": "f"}')
    world.push(b"no json", b"x" * (2**21))
    [row] = type_in("queue", "list", "--state", "in-flight", as_json=True)["tasks"]
    assert (row["id"], row["tag"]) == ("f", "w:1")
    text = type_in("queue", "list")
    assert "(not a task)" in text and "(too large)" in text and "2 shown of 2 waiting" in text


# -- worker queue run-now ------------------------------------------------------------------------


def test_a_delayed_task_runs_now_although_its_run_at_has_not_come(world, type_in):
    world.start_worker()
    push(world, id="later", run_at=FAR)
    until(lambda: world.redis.zcard(world.keys.delayed) == 1)
    assert "later is the next one" in type_in("queue", "run-now", "later")
    until(lambda: world.journal("start"))
    world.all_settled()


def test_a_retry_runs_now_and_its_failed_runs_still_count(world, type_in):
    world.start_worker(tasks={"raise": {"retries": 1, "backoff": "1h", "backoff_max": "1h"}})
    push(world, "raise", id="again")
    until(lambda: world.redis.zcard(world.keys.delayed) == 1)
    type_in("queue", "run-now", "again")
    until(lambda: world.dead())
    assert world.dead()[0]["attempts"] == b"2"


def test_a_waiting_task_goes_to_the_front_of_its_list(world, type_in):
    for n in range(5):
        push(world, id=f"t{n}")
    type_in("queue", "run-now", "t3")
    rows = type_in("queue", "list", as_json=True)["tasks"]
    assert [row["id"] for row in rows] == ["t3", "t0", "t1", "t2", "t4"]


# -- worker queue drop ---------------------------------------------------------------------------


def test_a_dropped_task_does_not_run_and_is_a_dead_letter_that_can_be_requeued(world, type_in):
    for n in range(3):
        push(world, id=f"t{n}")
    assert "--yes drops without asking" in type_in("queue", "drop", "t1", code=2)
    assert "t1 was dropped" in type_in("queue", "drop", "t1", "--yes")
    [letter] = world.dead()
    assert (letter["reason"], letter["outcome"]) == (b"cancelled", b"dead")
    assert json.loads(letter["raw"])["id"] == "t1"
    assert world.redis.hgetall(world.keys.stats)[b"dead"] == b"1"
    assert not world.redis.exists(world.keys.workers, world.keys.inflight)
    assert "it is a dead letter already" in type_in("queue", "drop", "t1", "--yes", code=1)
    type_in("dead", "requeue", "--all")
    world.accepted += 1
    world.start_worker()
    until(lambda: len(world.journal("start")) == 3)
    world.all_settled()


def test_delayed_and_held_tasks_can_be_dropped_and_running_ones_not(world, type_in):
    world.start_worker(tasks={"gate": {"max_concurrent_total": 1}})
    push(world, id="later", run_at=FAR)
    push(world, "gate", id="g1")
    push(world, "gate", id="g2")
    held = world.keys.held_of("gate")
    until(lambda: world.redis.llen(held) == 1 and world.redis.zcard(world.keys.delayed) == 1)
    assert look(type_in, "g2")["state"] == "held"
    for name in ("later", "g2"):
        type_in("queue", "drop", name, "--yes")
    assert "`worker cancel " in type_in("queue", "drop", "g1", "--yes", code=1)
    assert world.redis.llen(held) == 0 and world.redis.zcard(world.keys.delayed) == 0
    assert len(world.dead()) == 2


def test_a_unique_task_that_was_dropped_leaves_its_id_free(world, type_in):
    world.start_worker(tasks={"note": {"unique": True}})
    push(world, id="u", run_at=FAR)
    until(lambda: world.redis.zcard(world.keys.delayed) == 1)
    type_in("queue", "drop", "u", "--yes")
    push(world, id="u")
    until(lambda: world.journal("start"))
    assert [letter["reason"] for letter in world.dead()] == [b"cancelled"]


def test_a_dropped_task_is_followed_by_a_deep_task_but_by_nothing_in_a_foreign_list(world, type_in):
    deep = json.loads("[" * 490 + "]" * 490)
    push(world, id="deep", otherwise=[{"type": "note", "data": deep}])
    push(world, id="foreign", otherwise=[{"type": "note", "list": "other_app"}])
    type_in("queue", "drop", "deep", "--yes")
    type_in("queue", "drop", "foreign", "--yes")
    (follows,) = world.redis.lrange(world.keys.queue, 0, -1)
    assert json.loads(follows)["data"] == deep
    assert not world.redis.exists("other_app", world.keys.inflight)
    assert len(world.dead()) == 2
