"""A key of one type that is of a wrong Redis type: named, nothing is lost, other types go on."""

from __future__ import annotations

import pytest

from tests.support.said import said
from tests.support.waiting import until
from tests.support.world import LEASE_S

HANDLERS = ["tests.support.author_handlers"]
LIMITS = {"max_concurrent_total": 1, "rate_limit": "50/s", "unique": True}


@pytest.mark.parametrize(
    ("key", "must"),
    [
        ("held", "list"),
        ("holders", "set"),
        ("rate", "string"),
        ("unique", "hash"),
        ("barriers", "zset"),
    ],
)
def test_the_type_waits_until_the_key_is_mended_and_the_others_go_on(world, key, must):
    full = f"{{async_tasks}}:{key}:limited"
    _put_a_wrong_one(world.redis, full, must)
    workers = [
        world.start_worker(name, handlers=HANDLERS, tasks={"limited": LIMITS})
        for name in ("one", "two")
    ]
    for number in range(20):
        world.enqueue("limited", id=number, s=0, extra={"id": f"x{number}"})
    world.enqueue("says", 50)
    until(lambda: world.totals()["succeeded"] == 50, what="all of the other type are done")
    has = "list" if must == "hash" else "hash"
    for worker in workers:
        worker.logged(f"{full} holds a {has} and must be a {must}: delete or rename it")
    assert not [line for line in said(world.folder) if line.get("event") == "start"]
    if key == "held":  # else counting by hand meets it too
        until(lambda: world.redis.zcard(world.keys.delayed) == 20, what="they wait elsewhere")
    else:
        world.assert_conserved()
    world.redis.delete(full)
    world.all_settled(30)
    assert world.totals()["succeeded"] == 70
    workers[0].logged(f"mended: {full}")


@pytest.mark.parametrize(
    ("key", "must"), [("unique", "hash"), ("holders", "set"), ("held", "list")]
)
def test_one_that_gets_wrong_while_tasks_run_loses_nothing_either(world, key, must):
    full = f"{{async_tasks}}:{key}:gated"
    limits = {"unique": True, "max_concurrent_total": 2}
    worker = world.start_worker("one", handlers=HANDLERS, tasks={"gated": limits})
    for number in range(6):
        world.enqueue("gated", id=number, extra={"id": f"x{number}"})
    until(lambda: world.held() == 4 and len(said(world.folder)) == 2, what="two run, four wait")
    kept = world.redis.lrange(full, 0, -1) if key == "held" else []
    world.redis.delete(full)
    _put_a_wrong_one(world.redis, full, must)
    world.open_gate()
    until(lambda: world.totals()["succeeded"] == 2, what="what ran is settled")
    worker.logged(f"{full} holds a ")
    world.redis.delete(full)
    if kept:
        world.redis.rpush(full, *kept)
    world.all_settled()
    assert world.totals()["succeeded"] == 6
    until(
        lambda: not world.redis.exists("{async_tasks}:marks", "{async_tasks}:unique:gated"),
        2 * LEASE_S,
        "no mark is left",
    )


def test_where_what_a_pause_sets_aside_cannot_lie_it_waits_and_is_named(world, type_in):
    aside = "{async_tasks}:held:paused:limited"
    world.redis.set(aside, "not ours")
    type_in("pause", "--type", "limited")
    worker = world.start_worker("one", handlers=HANDLERS)
    world.enqueue("limited", 10, s=0)
    world.enqueue("says", 10)
    until(lambda: world.totals()["succeeded"] == 10, what="the other type is done")
    worker.logged(f"{aside} holds a string and must be a list: delete or rename it")
    until(lambda: world.redis.zcard(world.keys.delayed) == 10, what="they wait elsewhere")
    world.redis.delete(aside)
    type_in("resume", "--type", "limited")
    world.all_settled()
    assert world.totals()["succeeded"] == 20


def _put_a_wrong_one(redis, key, must):
    if must == "hash":
        redis.rpush(key, "not ours")
    else:
        redis.hset(key, "not", "ours")
