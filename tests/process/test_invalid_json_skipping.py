"""Invalid items are skipped once each, counted by reason, kept as they were, and stop nothing."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.bad_items import BAD, GOOD, of_size
from tests.support.waiting import until


def test_every_kind_of_bad_item_is_skipped_once_and_a_hundred_good_tasks_behind_run(world):
    world.push(*(raw for raw, _ in BAD.values()))
    world.enqueue("note", 100)
    worker = world.start_worker(dead_letters={"invalid_max": 1000})
    world.all_settled()

    assert world.totals()["invalid"] == len(BAD)
    assert world.totals()["succeeded"] == 100
    assert world.runs() == Counter(dict.fromkeys(range(100), 1))
    letters = world.dead()
    assert Counter(one["raw"] for one in letters) == Counter(raw for raw, _ in BAD.values())
    assert {one["raw"]: one["reason"].decode() for one in letters} == dict(BAD.values())
    assert worker.alive
    for reason, count in Counter(reason for _, reason in BAD.values()).items():
        until(
            lambda reason=reason, count=count: (
                worker.metric("worker_invalid_items_total", reason=reason) == count
            ),
            what=f"{count} items are counted as {reason}",
        )


def test_odd_but_valid_items_are_run(world):
    world.push(*GOOD.values())
    world.start_worker()
    world.all_settled()
    assert world.totals()["succeeded"] == len(GOOD)
    assert world.dead() == []


def test_an_item_beyond_the_size_limit_is_kept_and_the_next_one_runs(world):
    large = of_size(1_000_001)
    world.push(large, of_size(1_000_000))
    world.enqueue("note", id="after")
    world.start_worker(queue={"max_item_bytes": 1_000_000})
    world.all_settled()
    (letter,) = world.dead()
    assert letter["raw"] == large
    assert letter["reason"] == b"too_large"
    assert world.runs()["after"] == 1


def test_an_item_of_64_mb_is_skipped_and_the_next_one_runs(world):
    world.push(of_size(64 * 1024 * 1024))
    world.enqueue("note", id="after")
    world.start_worker()
    world.all_settled(40)
    assert world.totals()["invalid"] == 1
    assert world.redis.xlen(world.keys.dead) == 1
    assert world.runs()["after"] == 1


def test_a_skipped_item_is_one_short_escaped_line_in_the_log(world):
    world.push(b"first\nsecond \x1b[31m red \xff" + b"y" * 100_000)
    worker = world.start_worker()
    world.all_settled()
    worker.drain()
    line = next(one for one in worker.log().splitlines() if "not_utf8" in one)
    assert len(line) < 500
    assert "\x1b" not in worker.log()
    assert not any(one.startswith("second") for one in worker.log().splitlines())


def test_the_log_shows_nothing_of_a_bad_item_where_that_is_switched_off(world):
    world.push(b"my secret", b'{"type": 7, "data": "my secret"}', b"my secret" * 200_000)
    worker = world.start_worker(log={"previews": False})
    world.all_settled()
    worker.drain()
    lines = [one for one in worker.log().splitlines() if "skipped an invalid item" in one]
    assert {line.rpartition(": ")[2] for line in lines} == {
        "not_json, 9 bytes",
        "type_not_a_string, 32 bytes",
        "too_large, 1800000 bytes",
    }
    assert "secret" not in worker.log()


def test_a_flood_of_invalid_items_is_not_a_flood_of_log_lines(world):
    world.push(*[b"not json"] * 20_000)
    worker = world.start_worker(concurrent=50)
    world.all_settled(60)
    worker.drain()
    assert len(worker.log().splitlines()) < 200
    assert world.totals()["invalid"] == 20_000


def test_invalid_items_cannot_push_out_the_dead_letters_of_real_failures(world):
    world.enqueue("reject", id="a real failure")
    world.push(*[b"not json"] * 500)
    world.start_worker(dead_letters={"max": 50, "invalid_max": 20})
    world.all_settled()
    assert any(one["outcome"] == b"failed" for one in world.dead())
    assert len(world.dead()) == 21
    assert world.totals()["dead_trimmed"] == 480


@pytest.mark.parametrize("tasks", [{}, {"note": {"concurrency": 1}}], ids=["plain", "limits"])
def test_an_idle_worker_does_not_download_an_item_that_is_too_large(world, tasks):
    worker = world.start_worker(tasks=tasks)
    world.enqueue("note", id="before")
    world.all_settled()
    before = worker.most_memory()
    for number in range(1, 3):
        world.push(of_size(64 * 1024 * 1024))
        until(lambda number=number: world.totals()["invalid"] == number, what="it is skipped")
    world.enqueue("note", id="after")
    world.all_settled()
    until(lambda: worker.metric("worker_invalid_items_total", reason="too_large") == 2)
    assert worker.most_memory() - before < 16 * 1024 * 1024
    assert len(world.dead()) == 2
    assert world.runs() == {"before": 1, "after": 1}
