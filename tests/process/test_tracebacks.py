"""Where a handler failed is in the log once, in the dead letter, and shown to operators."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.processes import ROOT
from tests.support.typed import typed
from tests.support.waiting import until

MODULE = """
import asyncio, contextlib, time
from taskrig import Reject, Retry, handler, middleware


def charge(card):
    secret = "hunter2-" + card
    return {}["amount"]


@handler("coroutine")
async def coroutine(data):
    charge(data["card"])


@handler("plain")
def plain(data):
    charge(data["card"])


@handler("in_a_task")
async def in_a_task(data):
    async with asyncio.TaskGroup() as group:
        group.create_task(coroutine(data))


@handler("again", retries=2, backoff_s=0)
async def again(data):
    charge(data["card"])


@handler("reject")
async def reject(data):
    raise Reject("no card")


@handler("busy", retries=1)
async def busy(data):
    raise Retry("the bank is busy", after=0)


@handler("slow", timeout_s=0.2)
async def slow(data):
    await asyncio.sleep(60)


@handler("slow_thread", timeout_s=0.2)
def slow_thread(data):
    time.sleep(1.5)


@handler("swallows", timeout_s=0.2)
async def swallows(data):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise ConnectionError("rolled back")


@handler("many_places")
async def many_places(data):
    exec(compile("\\n" * data["n"] + "raise ValueError(1)", "made.py", "exec"))


@handler("deep")
async def deep(data):
    def down(n):
        return down(n + 1)

    down(0)


@handler("stray")
async def stray(data):
    stray.task = asyncio.create_task(coroutine({"card": "4711"}))
    await asyncio.sleep(0)
    del stray.task
"""


@pytest.fixture
def start(world):
    (world.folder / "shop.py").write_text(MODULE)

    def begin(*flags, **config):
        return world.start_worker(None, *flags, handlers=["shop"], **config)

    return begin


def shown(log, of="ERROR"):
    """The tracebacks in a log: the line above each, and its lines."""
    found = re.findall(rf"^\S+ \S+ {of} +(.*)\n((?:  \| .*\n)*)", log, re.MULTILINE)
    return [(line, lines.replace("  | ", "")) for line, lines in found]


@pytest.mark.parametrize("kind", ["coroutine", "plain", "in_a_task", "again"])
def test_a_traceback_is_logged_at_error_once_and_each_failure_in_a_line(world, start, kind):
    world.enqueue(kind, 30, card="4711")
    worker = start()
    world.all_settled()
    assert worker.drain() == 0
    log = worker.log()
    ((line, lines),) = shown(log)
    assert f"({kind}" in line and "'amount'" in line + lines
    assert lines.startswith("Traceback (most recent call last):\n")
    assert re.search(r'  File "\S+shop.py", line 8, in charge\n    return {}\["amount"\]\n', lines)
    assert "taskrig/engine" not in log and "hunter2" not in log
    assert len(re.findall(r"task \d+ failed after", log)) == (90 if kind == "again" else 30)


def test_the_traceback_is_in_the_dead_letter_and_operators_see_it(world, start, type_in):
    world.enqueue("coroutine", card="4711")
    worker = start()
    world.all_settled()
    (letter,) = world.dead()
    assert letter["traceback"].decode().endswith("KeyError: 'amount'")
    name = type_in("dead", "list", as_json=True)["letters"][0]["id"]
    text = type_in("dead", "show", name)
    assert '  |     charge(data["card"])\n' in text and text.count("Traceback") == 1
    assert "in charge" in type_in("dead", "show", name, as_json=True)["traceback"]
    assert "in charge" in json.loads(worker.get(f"/api/dead/{name}")[1])["traceback"]


def test_deliberate_ends_have_no_traceback_and_are_no_errors_in_the_log(world, start):
    world.enqueue("reject")
    world.enqueue("busy")
    worker = start()
    world.all_settled()
    found = {letter["type"]: letter for letter in world.dead()}
    assert "traceback" not in found[b"reject"]
    assert b"raise Retry" in found[b"busy"]["traceback"]  # in the end it failed
    assert [line for line, _ in shown(worker.log()) if "reject" in line] == []


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("slow", "await asyncio.sleep(60)"),
        ("slow_thread", "time.sleep(1.5)"),
        ("swallows", 'raise ConnectionError("rolled back")'),
    ],
)
def test_where_a_handler_stood_when_it_was_timed_out_is_told(world, start, kind, where):
    world.enqueue(kind)
    worker = start()
    world.all_settled()
    (letter,) = world.dead()
    assert letter["reason"] == b"timeout"
    assert f"in {kind}\n    {where}" in letter["traceback"].decode()
    assert where in worker.log()


def test_where_a_handler_stood_when_an_operator_cancelled_it_is_told(world, start, type_in):
    world.enqueue("slow")
    start(tasks={"slow": {"timeout": "30s"}})
    until(lambda: world.in_flight() == 1)
    (tag,) = world.redis.hkeys(world.keys.inflight)
    type_in("cancel", tag.decode())
    world.all_settled()
    assert b"await asyncio.sleep(60)" in world.dead()[0]["traceback"]


def test_a_flood_of_different_errors_shows_some_and_keeps_all(world, start):
    for n in range(300):
        world.enqueue("many_places", n=n)
    world.enqueue("deep")
    worker = start(concurrent=50)
    world.all_settled()
    assert 10 <= len(shown(worker.log())) <= 40
    assert len(shown(worker.log(), "WARNING")) >= 250
    assert all(0 < len(letter["traceback"]) <= 4000 for letter in world.dead())


def test_without_lines_of_tasks_there_are_no_tracebacks_and_json_lines_have_them(world, start):
    world.enqueue("coroutine", card="4711")
    quiet = start(log={"tasks": "none"})
    world.all_settled()
    quiet.drain()
    assert "Traceback" not in quiet.log()
    world.enqueue("coroutine", card="4711")
    told = start(log={"format": "json"})
    world.all_settled()
    told.drain()
    lines = [json.loads(line) for line in told.log().splitlines()]
    (line,) = [line for line in lines if line["level"] == "error"]
    assert "in charge" in line["error"] and "failed after" in line["message"]


def test_what_a_handlers_stray_task_raised_is_told_with_its_traceback(world, start):
    world.enqueue("stray")
    worker = start()
    world.all_settled()
    log = worker.logged("in the event loop", 10)
    assert any("in the event loop" in line and "in charge" in lines for line, lines in shown(log))


def test_a_command_of_the_previous_version_reads_and_requeues_a_letter_with_a_traceback(
    world, start
):
    item = b'{"type": "coroutine",  "data": {"card": "4711"}}'
    world.push(item)
    start().metric("worker_redis_up")
    world.all_settled()
    world.workers[0].drain()
    previous = ROOT / "tests" / "fixtures" / "previous" / "dead_page.lua"
    page = world.redis.register_script(previous.read_text())
    _, seen, _, (row,) = page([world.keys.dead], ["-", "+", "0", 100, 10**6, 10, -1])
    assert (seen, row[2], row[4], len(row)) == (1, item, b"error", 10)
    words = ("dead", "requeue", row[0].decode(), "--redis-url", world.url)
    assert typed(*words)[0] == 0
    assert world.items() == [item]
