"""The worker and every command of ours where Redis refuses all that we can do without."""

from __future__ import annotations

import json

import pytest

from tests.integration.test_optional_commands import NEVER, OPTIONAL
from tests.support.processes import run_to_end
from tests.support.refusing_proxy import RefusingProxy
from tests.support.waiting import until
from tests.support.world import World

STYLES = ["an ACL", "a proxy's error", "a proxy that hangs up"]


@pytest.fixture(params=STYLES)
def world(request, server, tmp_path):
    own = server()
    refused = [*OPTIONAL, *NEVER]
    if request.param == STYLES[0]:
        rules = ["-" + command.lower().replace(" ", "|") for command in refused]
        with own.client() as admin:
            admin.execute_command("ACL", "SETUSER", "w", "on", ">pw", "~*", "+@all", *rules)
        proxy, url = None, f"redis://w:pw@127.0.0.1:{own.port}/0"
    else:
        proxy = RefusingProxy(own.port, refused, hangs_up=request.param == STYLES[2])
        url = proxy.url
    one = World(url, tmp_path)
    one.redis.close()
    one.redis = own.client()  # the test's own looks are not restricted
    yield one
    one.close()
    if proxy is not None:
        proxy.close()


def test_the_worker_and_every_command_work(world, type_in):
    world.enqueue("reject", id="fails")
    world.push("not json")
    worker = world.start_worker("one")
    world.enqueue("note", 3)
    world.all_settled()
    world.enqueue("gate", id="held")
    until(lambda: world.runs()["held"], what="it runs")
    seen = until(lambda: (s := type_in("status", as_json=True))["running"] and s, what="is seen")
    assert type_in("top", "--count", "1")
    assert "cancel" in type_in("cancel", seen["running"][0]["tag"])
    world.all_settled()
    assert "paused" in type_in("pause")
    assert type_in("resume")
    assert type_in("pause", "--type", "note")
    assert type_in("resume", "--type", "note")
    assert type_in("queue", "count")
    assert type_in("queue", "peek")
    assert "rejected" in type_in("dead", "list")
    assert type_in("dead", "requeue", "--reason", "rejected", "--yes")
    assert type_in("dead", "drop", "--outcome", "invalid", "--yes")

    def reclaimed():  # unless the worker scans at this moment, which it says
        try:
            return type_in("reclaim", "--now")
        except AssertionError as fault:
            if "another scan is under way" not in str(fault):
                raise
            return ""

    until(reclaimed, what="no other scan is under way")
    assert json.loads(worker.get("/api/status")[1])["workers"]
    assert type_in("drain", seen["workers"][0]["id"])
    worker.ends_well()
    assert "Redis is away" not in worker.log()
    assert worker.log().count("by BLMOVE does not work here") == 1


def test_loadgen_works(world, tmp_path):
    world.start_worker("one")

    def loadgen(*words):
        done = run_to_end("loadgen", *words, "--redis-url", world.url, cwd=tmp_path, timeout_s=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    mix = ("--mix", "note=10", "--allow-unknown", "--yes")
    assert json.loads(loadgen(*mix, "--json"))["accounting"]["succeeded"] == 10
    drained = json.loads(loadgen("drain", "--backlog", "50", *mix, "--json"))
    assert drained["accounting"]["succeeded"] == 50
    assert "workers 1" in loadgen("monitor", "--once")
    world.redis.set(world.keys.paused, "")
    loadgen("add", *mix)
    assert "dropped 10" in loadgen("clear", "--yes")
