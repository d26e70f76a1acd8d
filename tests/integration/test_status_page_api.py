"""The status page's paths: who is answered, who is refused, and what an order may be."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys

import pytest

from taskrig.broker import Address
from taskrig.config.load import load_config
from taskrig.web import StatusPage
from taskrig.web.server import HttpServer
from tests.support.processes import environment
from tests.support.servers import free_port
from tests.support.waiting import until

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}


class Site:
    """The page on a port of its own, without a worker around it."""

    def __init__(self, world, *sets):
        config = load_config(None, env={}, overrides={"redis.url": world.url}, sets=sets)
        self.page = StatusPage(config, Address(config.redis, config.queue.key, "test"))
        self.server = HttpServer(
            "127.0.0.1",
            0,
            metrics=lambda accept: (b"", "text/plain"),
            live=lambda: (True, ""),
            ready=lambda: (True, ""),
            status=dict,
            page=self.page,
        )
        self.server.start()

    def close(self):
        self.server.close()
        self.page.close()

    def ask(self, path, method="GET", body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            reply = connection.getresponse()
            reply.body = reply.read()
            return reply
        finally:
            connection.close()

    def order(self, path, said=None, **headers):
        sent = {**JSON, **BEARER, **{name.replace("_", "-"): v for name, v in headers.items()}}
        return self.ask(path, "POST", json.dumps(said or {}), sent)


@pytest.fixture
def site(world):
    made = []

    def start(*sets):
        made.append(Site(world, *sets))
        return made[-1]

    yield start
    for one in made:
        one.close()


def bury(world, count=1):
    return [
        world.redis.xadd(world.keys.dead, {"raw": f"raw {i}", "outcome": "failed"}).decode()
        for i in range(count)
    ]


def test_every_file_of_the_page_has_a_strict_policy_and_comes_from_here(site):
    one = site()
    for path in (
        "/",
        "/page/page.css",
        "/page/page.js",
        "/page/dead.js",
        "/page/find.js",
        "/page/pauses.js",
        "/page/view.js",
        "/page/icon.svg",
    ):
        reply = one.ask(path)
        policy = reply.headers["Content-Security-Policy"]
        assert reply.status == 200
        assert "default-src 'none'" in policy and "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        text = reply.body.decode().replace("http://www.w3.org/", "")
        assert "http://" not in text and "https://" not in text
        assert "innerHTML" not in text and "style=" not in text and "onclick=" not in text.lower()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"Authorization": "Bearer \xff"}, 401),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 421),
    ],
)
def test_an_order_without_the_token_or_from_another_site_changes_nothing(
    world, site, headers, code
):
    one = site(f"http.token={TOKEN}")
    bury(world)
    reply = one.order("/api/dead/drop", {"where": {}}, **headers)
    assert (reply.status, "error" in json.loads(reply.body)) == (code, True)
    assert world.redis.xlen(world.keys.dead) == 1
    assert "Access-Control-Allow-Origin" not in reply.headers


def test_the_token_in_a_url_is_not_accepted(world, site):
    one = site(f"http.token={TOKEN}")
    bury(world)
    assert one.ask(f"/api/dead?token={TOKEN}").status == 401
    assert one.order(f"/api/dead/drop?token={TOKEN}", {"where": {}}, Authorization="").status == 401


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": ""}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_a_type_is_paused_and_resumed_by_nobody_else(world, site, headers):
    one = site(f"http.token={TOKEN}")
    assert one.order("/api/pause", {"type": "email"}, **headers).status in (401, 403)
    assert not world.redis.exists(world.keys.paused_types)
    one.order("/api/pause", {"type": "email"})
    assert one.order("/api/resume", {"type": "email"}, **headers).status in (401, 403)
    assert world.redis.hkeys(world.keys.paused_types) == [b"email"]


def test_without_a_configured_token_no_order_is_taken(world, site):
    one = site()
    for path in ("dead/drop", "dead/requeue", "pause", "resume", "cancel", "drain"):
        reply = one.order(f"/api/{path}", {"where": {}})
        assert reply.status == 403 and b"read-only" in reply.body
    assert not world.redis.exists(world.keys.paused)


def test_dead_letters_are_shown_without_a_token_only_when_none_is_configured(world, site):
    [letter] = bury(world)
    open_site, locked = site(), site(f"http.token={TOKEN}")
    assert json.loads(open_site.ask("/api/dead").body)["letters"][0]["raw"] == "raw 0"
    for path in ("/api/dead", f"/api/dead/{letter}"):
        assert locked.ask(path).status == 401
        assert locked.ask(path, headers=BEARER).status == 200
    assert locked.ask("/api/status").status == 200


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("127.0.0.1:80", True),
        ("[::1]:80", True),
        ("localhost", True),
        ("a.localhost:1", True),
        ("10.1.2.3", True),
        ("ops.example.com", True),
        ("evil.example", False),
        ("", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:80", False),
    ],
)
def test_a_site_that_points_its_name_here_is_not_answered(site, name, known):
    one = site("http.names=[ops.example.com]")
    for path in ("/", "/api/status"):
        assert one.ask(path, headers={"Host": name}).status == (200 if known else 421)
    assert one.ask("/metrics", headers={"Host": name}).status == 200  # scrapers use any name


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("dead/drop", b"{", 400),
        ("dead/drop", b"[]", 400),
        ("dead/drop", b"{}", 400),
        ("dead/drop", b'{"where":{"x":"y"}}', 400),
        ("dead/drop", b'{"where":{"type":1}}', 400),
        ("cancel", b'{"tag":"x\\ud800:1"}', 400),
        ("drain", b'{"worker":"\\ud800"}', 400),
        ("dead/drop", b'{"ids":["99999999999999999999-0"]}', 400),
        ("dead/drop", b'{"ids":["x"]}', 400),
        ("dead/drop", b'{"ids":[1]}', 400),
        ("dead/drop", b'{"where":{},"next":"x"}', 400),
        ("dead/drop", b'{"ids":[],"where":{}}', 400),
        ("dead/drop", b"[" * 60_000, 400),
        ("cancel", b"{}", 400),
        ("drain", b'{"worker":7}', 400),
        ("pause", b'{"type":""}', 400),
        ("pause", b'{"type":7}', 400),
        ("resume", b'{"type":null}', 400),
        ("pause", b'{"type":"%s"}' % (b"x" * 257), 400),
        ("pause", b'{"type":"\\ud800"}', 400),
        ("pause", b'{"type":"x","why":7}', 400),
        ("fly", b"{}", 404),
        ("dead/drop", b"x" * 65537, 413),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(world, site, path, body, code):
    one = site(f"http.token={TOKEN}")
    bury(world)
    assert one.ask(f"/api/{path}", "POST", body, {**JSON, **BEARER}).status == code
    assert world.redis.xlen(world.keys.dead) == 1
    assert not world.redis.exists(world.keys.paused, world.keys.paused_types)


def test_a_post_to_any_other_path_is_refused(site):
    one = site(f"http.token={TOKEN}")
    for path in ("/metrics", "/livez", "/status", "/nowhere"):
        assert one.ask(path, "POST", "{}", {**JSON, **BEARER}).status == 405
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert one.ask("/api/pause", method).status == 405


def test_orders_requeue_in_parts_pause_and_resume(world, site):
    one = site(f"http.token={TOKEN}")
    ids = bury(world, 5)
    assert json.loads(one.order("/api/dead/requeue", {"ids": ids[:2]}).body)["moved"] == 2
    rest = json.loads(one.order("/api/dead/requeue", {"where": {"outcome": "failed"}}).body)
    assert (rest["moved"], rest["next"]) == (3, "")
    assert world.redis.lrange(world.keys.queue, 0, -1)[::-1] == [b"raw %d" % i for i in range(5)]
    assert json.loads(one.order("/api/pause").body) == {"paused": True, "changed": True}
    assert json.loads(one.ask("/api/status").body)["paused"] is True
    assert json.loads(one.order("/api/resume").body) == {"paused": False, "changed": True}
    said = {"type": "a b", "why": "it\nburns"}
    assert json.loads(one.order("/api/pause", said).body) == {"paused": True, "changed": True}
    status = json.loads(one.ask("/api/status").body)
    [paused] = status["paused_types"]
    assert (paused["type"], paused["why"], status["paused"]) == ("a b", "it burns", False)
    resumed = json.loads(one.order("/api/resume", {"type": "a b"}).body)
    assert resumed == {"paused": False, "changed": True, "moved": 0}
    assert json.loads(one.order("/api/cancel", {"tag": "x:1"}).body) == {"reply": "no_worker"}


def test_pages_of_dead_letters_continue_where_the_last_one_ended(world, site):
    one, ids = site(), bury(world, 120)
    seen, after = [], ""
    while True:
        page = json.loads(one.ask(f"/api/dead?after={after}").body)
        seen += [letter["id"] for letter in page["letters"]]
        after = page["next"]
        if not after:
            break
    assert seen == ids[::-1]
    assert one.ask("/api/dead?after=x").status == 400
    assert one.ask("/api/dead/1-1").status == 404


def test_with_redis_away_the_page_is_served_and_says_so(tmp_path, site, world):
    one = site(f"redis.url=redis://127.0.0.1:{free_port()}/0")
    assert one.ask("/").status == 200
    reply = one.ask("/api/status")
    assert reply.status == 503 and "Redis at" in json.loads(reply.body)["error"]


def _history(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/api/status")
    points = json.loads(connection.getresponse().read())["history"]["at"]
    connection.close()
    return points


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_worker_web_serves_the_page_alone_until_it_is_told_to_end(world, number):
    web = subprocess.Popen(
        [sys.executable, "-m", "taskrig", "web", "--port", "0", "--redis-url", world.url],
        env=environment(),
        cwd=world.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(web.stdout.readline().rstrip("/\n").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/api/status")
        assert json.loads(connection.getresponse().read())["depth"]["waiting"] == 0
        connection.close()
        until(lambda: _history(port), what="it remembers for its plots what it saw")
        web.send_signal(number)
        assert web.wait(10) == 0
    finally:
        web.kill()
        web.wait()


def test_with_several_processes_the_parent_serves_the_page_and_the_children_tell_at_sigusr1(world):
    worker = world.start_worker(None, "--processes", "2", concurrent=1)
    world.enqueue("gate", 2)
    until(lambda: len(world.journal("start")) == 2)
    code, text = worker.get("/api/status")
    assert code == 200 and len(json.loads(text)["workers"]) == 2
    worker.signal(signal.SIGUSR1)
    until(lambda: worker.log().count("(gate) for") == 2)
    world.open_gate()
    world.all_settled()
    assert worker.drain() == 0


def test_the_page_can_be_turned_off(world):
    worker = world.start_worker(http={"page": False})
    assert worker.get("/api/status")[0] == 404
    assert "/metrics" in worker.get("/")[1]


# -- one task ------------------------------------------------------------------------------------


def test_a_task_is_served_by_its_id_to_whoever_has_the_token(world, site):
    world.push('{"type": "note", "id": "a/b é", "data": {"n": 1}}', '{"type": "x", "id": 2}')
    there = site(f"http.token={TOKEN}")
    path = "/tasks/a%2Fb%20%C3%A9"
    assert there.ask(path).status == there.ask("/tasks/none").status == 401
    reply = there.ask(path, headers=BEARER)
    seen = json.loads(reply.body)
    assert (reply.status, seen["state"], seen["data"]) == (200, "waiting", {"n": 1})
    assert there.ask("/tasks/2", headers=BEARER).status == 200
    for strange in ("/tasks/none", "/tasks/", "/tasks/" + "x" * 5000):
        assert there.ask(strange, headers=BEARER).status == 404
    assert there.ask("/tasks/%ff", headers=BEARER).status == 400
    assert there.ask(path, "POST", "{}", {**BEARER, **JSON}).status == 405


def test_a_task_that_has_ended_is_served_with_its_result(world, site):
    document = {"id": "r", "type": "t", "state": "succeeded", "result": [1]}
    world.redis.rpush(world.keys.result("r"), json.dumps(document))
    seen = json.loads(site().ask("/tasks/r").body)
    assert (seen["state"], seen["result"]["result"]) == ("succeeded", [1])
