"""What an operator types on a bad day, at two real workers and a real Redis."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.support.processes import environment
from tests.support.servers import free_port
from tests.support.typed import typed
from tests.support.waiting import until

CANCELLED = {"outcome": b"dead", "reason": b"cancelled"}


# -- status ------------------------------------------------------------------------------------


def test_status_shows_depths_workers_and_what_runs_for_how_long(world, type_in):
    first, second = world.start_worker(concurrent=1), world.start_worker(concurrent=1)
    world.enqueue("gate", 3)
    until(lambda: len(world.journal("start")) == 2, what="two tasks run")
    until(lambda: len(type_in("status", "--over", "0", as_json=True)["running"]) == 2)

    seen = type_in("status", "--over", "0.2", as_json=True)

    assert seen["depth"] == {"waiting": 1, "in_flight": 2, "delayed": 0, "dead": 0, "paused": 0}
    assert seen["slots"] == 2
    assert {one["pid"] for one in seen["workers"]} == {first.pid, second.pid}
    assert all(one["age_s"] > 0 and one["running"] == 1 for one in seen["workers"])
    assert [task["type"] for task in seen["running"]] == ["gate", "gate"]
    assert all(0 < task["for_s"] < 30 for task in seen["running"])
    assert seen["rates"]["done_per_s"] == 0
    text = type_in("status", "--over", "0.1")
    assert "waiting    1" in text and "2 of 2 slots" in text and "gate" in text
    assert "the backlog does not shrink" in text


def test_status_leaves_out_tasks_that_ended_since_their_worker_last_told(world, type_in):
    told = [{"tag": f"w:{n}", "type": "x", "since": time.time() - n} for n in (1, 2, 3)]
    world.redis.zadd(world.keys.workers, {"w": (time.time() + 600) * 1000})
    world.redis.hset(world.keys.about, "w", json.dumps({"running": told}))
    world.redis.hset(world.keys.inflight, mapping={"w:1": "{}", "w:3": "{}"})
    running = type_in("status", "--over", "0", as_json=True)["running"]
    assert [task["tag"] for task in running] == ["w:3", "w:1"]  # longest first


NASTY = "\x1b[2J\x1b]0;title\x07\r"


def test_no_command_lets_what_stands_in_redis_steer_the_terminal(world, type_in):
    redis, keys, live = world.redis, world.keys, (time.time() + 600) * 1000
    told = dict.fromkeys(("host", "version", "http"), NASTY)
    told |= {"running": [{"tag": NASTY, "type": NASTY}], "types": [NASTY]}
    redis.zadd(keys.workers, {f"w{NASTY}": live, "silent": 1})
    redis.hset(keys.about, f"w{NASTY}", json.dumps(told))
    redis.hset(keys.inflight, mapping={NASTY: "{}", f"{NASTY}:1": "{}", f"w{NASTY}:2": "{}"})
    redis.set(keys.paused, f"12 {NASTY}")
    letter = dict.fromkeys(("outcome", "reason", "error", "type", "worker", "traceback"), NASTY)
    letter_id = redis.xadd(keys.dead, {**letter, "raw": NASTY, "time": "12"}).decode()
    world.push(NASTY, json.dumps({"type": NASTY}))
    for words in (
        ("status", "--over", "0"),
        ("drain", "w", "--wait", "0"),
        ("cancel", f"w{NASTY}:2", "--wait", "0"),
        ("reclaim",),
        ("dead", "list"),
        ("dead", "show", letter_id),
        ("queue", "peek"),
        ("queue", "count"),
        ("resume", "--type", NASTY),
    ):
        code, out, err = typed(words[0], *words[1:], "--set", f"redis.url={world.url}")
        assert code == 0, (words, err)
        text = out.decode() + err
        assert "x1b" in text or words[0] == "reclaim", words
        assert all(one.isprintable() or one == "\n" for one in text), (words, text)


def test_a_description_that_no_worker_has_written_does_not_hide_the_others(world, type_in):
    live = (time.time() + 600) * 1000
    deep = "[" * 100_000 + "]" * 100_000
    abouts = {b"deep": deep, b"\xff": json.dumps({"running": [{"tag": "t"}]}), b"good": "{}"}
    abouts[b"odd"] = json.dumps({"host": json.loads("[" * 500 + "]" * 500), "pid": "x"})
    world.redis.zadd(world.keys.workers, dict.fromkeys(abouts, live))
    world.redis.hset(world.keys.about, mapping=abouts)
    text = type_in("status", "--over", "0")
    assert "workers    4" in text and "  good " in text and "  deep " in text


def test_status_measures_rates_and_the_time_to_empty(world, type_in):
    world.start_worker(concurrent=4)
    world.enqueue("sleep", 400, s=0.05)
    until(lambda: world.settled() > 10)
    seen = type_in("status", "--over", "1", as_json=True)
    assert 0 < seen["rates"]["done_per_s"] < 100  # four slots of 20 tasks a second, at most
    assert seen["rates"]["time_to_empty_s"] > 0
    assert abs(seen["rates"]["arriving_per_s"]) < 5


def test_status_tells_the_age_of_the_oldest_task_where_it_carries_a_time(world, type_in):
    world.enqueue("note", extra={"enqueued_at": time.time() - 120})
    seen = type_in("status", "--over", "0", as_json=True)
    assert seen["oldest_waiting_s"] == pytest.approx(120, abs=10)
    assert seen["workers"] == []
    assert "none alive" in type_in("status", "--over", "0")


def test_a_description_that_is_rubbish_does_not_break_status(world, type_in):
    far = (time.time() + 600) * 1000
    world.redis.zadd(world.keys.workers, {"odd": far, "odder": far, "none": far})
    world.redis.hset(world.keys.about, "odd", b"\xff{")
    world.redis.hset(
        world.keys.about,
        "odder",
        json.dumps(
            {
                "host": ["x"],
                "pid": "p",
                "running": [1, {"tag": 2}],
                "started": True,
                "concurrency": "9",
            }
        ),
    )
    assert len(type_in("status", "--over", "0", as_json=True)["workers"]) == 3
    assert "odder" in type_in("status", "--over", "0")


def test_top_prints_a_line_of_json_for_each_look(world, type_in):
    out = type_in("top", "--every", "0.1", "--count", "3", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["depth"]["waiting"] for line in lines] == [0, 0, 0]
    assert all(line["rates"]["over_s"] < 5 for line in lines)


# -- Redis down --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["top", "--count", "1"],
        ["dead", "list"],
        ["dead", "show", "1-1"],
        ["dead", "requeue", "--all"],
        ["dead", "drop", "--all", "--yes"],
        ["queue", "peek"],
        ["queue", "count"],
        ["pause"],
        ["resume"],
        ["pause", "--type", "x"],
        ["resume", "--type", "x"],
        ["drain", "x"],
        ["cancel", "x:1"],
        ["reclaim"],
        ["reclaim", "--now"],
    ],
    ids=" ".join,
)
def test_with_redis_down_a_command_says_so_in_one_line_and_exits_3(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    url = f"redis://:hunter2@127.0.0.1:{free_port()}/0"
    code, out, err = typed(*words, "--redis-url", url)
    assert (code, out) == (3, b"")
    assert len(err.splitlines()) == 1, err
    assert "Redis at" in err and "refused" in err.lower()
    assert "hunter2" not in err


# -- what waits --------------------------------------------------------------------------------


def test_peek_shows_what_is_taken_next_and_count_counts_by_type_without_taking(world, type_in):
    world.enqueue("first", 2)
    world.enqueue("second", 3)
    world.push(b"no json", b"x" * (1 << 20) + b"too large")
    world.redis.lpush(world.keys.arrivals, b'{"type":"arrived"}')
    world.redis.rpush(world.keys.redeliver, b'w:1:1:0|{"type":"again"}')

    peeked = type_in("queue", "peek", "-n", "4", as_json=True)
    assert [one["type"] for one in peeked["items"]] == ["again", "arrived", "first", "first"]
    assert peeked["items"][0]["raw"] == '{"type":"again"}'
    assert peeked["total"] == 9
    counted = type_in("queue", "count", as_json=True)
    assert counted["types"] == {
        "second": 3,
        "first": 2,
        "arrived": 1,
        "again": 1,
        "invalid: not_json": 1,
        "invalid: too_large": 1,
    }
    assert world.waiting() == 9
    assert "9 waiting" in type_in("queue", "peek")


# -- pause, drain, cancel, reclaim -------------------------------------------------------------


def test_pause_stops_all_workers_from_claiming_until_resume(world, type_in):
    world.start_worker()
    world.start_worker()
    assert "paused" in type_in("pause", "--why", "moving the\ndatabase")
    world.enqueue("note", 20)
    until(lambda: all(worker.status()["paused"] for worker in world.workers))
    seen = type_in("status", "--over", "0", as_json=True)
    assert (seen["paused"], seen["paused_why"]) == (True, "moving the database")
    assert world.waiting() == 20
    assert type_in("pause", as_json=True) == {"paused": True, "changed": False}
    assert "moving the database" in type_in("status", "--over", "0")

    assert type_in("resume", as_json=True) == {"paused": False, "changed": True, "paused_types": []}
    assert "was not paused" in type_in("resume")
    world.all_settled()


def test_drain_makes_one_worker_leave_and_the_other_go_on(world, type_in):
    leaving, staying = world.start_worker(), world.start_worker()
    ids = {one["pid"]: one["id"] for one in type_in("status", as_json=True)["workers"]}

    said = type_in("drain", ids[leaving.pid][:6], "--wait", "10", as_json=True)

    assert said["left"] and said["worker"] == ids[leaving.pid]
    assert leaving.exit_code() == 0
    assert staying.alive
    world.enqueue("note", 5)
    world.all_settled()
    assert "no live worker" in type_in("drain", ids[leaving.pid], code=1)
    assert world.redis.hlen(world.keys.control) == 0


def test_a_cancelled_task_becomes_a_dead_letter_and_frees_its_slot(world, type_in):
    world.start_worker(concurrent=1)
    world.start_worker(concurrent=1)
    world.enqueue("gate", 2)
    until(lambda: len(world.journal("start")) == 2)
    world.enqueue("note", 1, id="behind")
    running = until(
        lambda: (
            len(found := type_in("status", "--over", "0", as_json=True)["running"]) == 2 and found
        )
    )
    tag = running[0]["tag"]
    raw = world.redis.hget(world.keys.inflight, tag)

    said = type_in("cancel", tag, as_json=True)

    assert said["ended"] and said["dead_letter"]
    [letter] = world.dead()
    assert letter.items() >= {**CANCELLED, "raw": raw, "type": b"gate"}.items()
    until(lambda: world.runs()["behind"] == 1, what="its slot runs the next task")
    assert len(world.journal("CancelledError")) == 1
    assert world.totals()["dead"] == 1
    assert "not in flight" in type_in("cancel", tag, code=1)
    for absent in ("nonsense", "gone:1", f"{tag.partition(':')[0]}:x"):
        assert "not in flight" in type_in("cancel", absent, code=1)
    until(lambda: world.redis.hlen(world.keys.control) == 0, what="no ask is left behind")
    world.open_gate()
    world.all_settled()


def _running_tags(type_in):
    return [one["tag"] for one in type_in("status", "--over", "0", as_json=True)["running"]]


def test_a_handler_that_swallows_its_cancellation_is_reported_as_still_in_flight(world, type_in):
    world.start_worker()
    world.enqueue("stubborn", s=3)
    until(lambda: world.journal("start"))
    [tag] = [tag.decode() for tag in world.redis.hkeys(world.keys.inflight)]
    said = type_in("cancel", tag, "--wait", "0.5", code=1)
    assert "still in flight after 0.5 s" in said and "swallows" in said
    assert f"SIGUSR1 to its worker (pid {world.workers[0].pid} on " in said
    assert "worker pause --type" in said
    world.all_settled()
    assert world.totals()["succeeded"] == 1
    until(lambda: world.redis.hlen(world.keys.control) == 0)


def test_a_task_cancelled_while_its_worker_drains_is_dead_and_not_released(world, type_in):
    worker = world.start_worker(worker={"drain_timeout": 20})
    world.enqueue("gate", 1)
    until(lambda: world.journal("start"))
    worker.terminate()
    worker.logged("draining")
    [tag] = [tag.decode() for tag in world.redis.hkeys(world.keys.inflight)]
    type_in("cancel", tag)
    assert worker.exit_code() == 0
    world.all_settled()
    assert world.totals()["dead"] == 1


def test_reclaim_shows_what_a_dead_worker_holds_and_gives_it_back_now(world, type_in):
    doomed = world.start_worker(worker={"lease": 0.5}, concurrent=3)
    world.enqueue("gate", 3)
    until(lambda: len(world.journal("start")) == 3)
    doomed.kill()
    held = until(lambda: type_in("reclaim", as_json=True)["held"], what="its lease runs out")
    assert list(held.values()) == [3]
    assert "not alive" not in type_in("reclaim")

    assert type_in("reclaim", "--now", as_json=True) == {"moved": 3}

    assert (world.in_flight(), world.waiting()) == (0, 3)
    assert "nothing is held" in type_in("reclaim")
    assert type_in("reclaim", "--now", as_json=True)["moved"] == 0
    assert world.redis.zcard(world.keys.workers) == 0  # neither the dead one nor the operator
    world.open_gate()
    world.start_worker()
    world.all_settled()


def test_reclaim_takes_nothing_from_the_living(world, type_in):
    world.start_worker()
    world.enqueue("gate", 3)
    until(lambda: len(world.journal("start")) == 3)
    assert type_in("reclaim", "--now", as_json=True)["moved"] == 0
    world.open_gate()
    world.all_settled()
    assert set(world.runs().values()) == {1}


@pytest.mark.parametrize("words", [["status"], ["queue", "count"], ["dead", "list"]])
def test_a_key_of_a_wrong_type_is_named_with_what_to_do(world, type_in, words):
    world.redis.set("async_tasks", "text")
    said = type_in(*words, code=2)
    assert "the queue's key, 'async_tasks', holds a string and must be a list: delete" in said
    assert len(said.splitlines()) == 1


def test_a_terminal_that_knows_fewer_characters_shows_all_the_same(world):
    world.enqueue("长", 2)
    done = subprocess.run(
        [sys.executable, "-m", "taskrig", "queue", "peek", "--redis-url", world.url],
        env={**environment(), "PYTHONIOENCODING": "latin-1"},
        cwd=world.folder,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u957f" in done.stdout
