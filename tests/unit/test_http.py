"""The HTTP port answers whatever its clients and the rest of the worker do."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time

import pytest

from taskrig.errors import UsageError
from taskrig.web.server import HttpServer
from tests.support.waiting import until

PAGE = b"# HELP worker_up x\n" + b"worker_up 1\n" * 500


class Answers:
    """What the pages show; a test may change it."""

    def __init__(self):
        self.live = (True, "ok")
        self.ready = (True, "ok")
        self.accepts = []

    def metrics(self, accept):
        self.accepts.append(accept)
        return PAGE, "text/plain; version=0.0.4"


@pytest.fixture
def answers():
    return Answers()


def serve(answers, host="127.0.0.1", port=0, status=lambda: {"running": 3}):
    return HttpServer(
        host,
        port,
        metrics=answers.metrics,
        live=lambda: answers.live,
        ready=lambda: answers.ready,
        status=status,
    )


@pytest.fixture
def http_server(answers):
    server = serve(answers)
    server.start()
    yield server
    server.close()


def ask(server, path, method="GET", host="127.0.0.1", **headers):
    conn = http.client.HTTPConnection(host, server.port, timeout=3)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        conn.request(method, path, headers=names)
        reply = conn.getresponse()
        reply.body = reply.read()
    finally:
        conn.close()
    return reply


def test_the_metrics_page_is_what_the_source_makes_for_the_accept_header(http_server, answers):
    reply = ask(http_server, "/metrics?x=1", Accept="application/openmetrics-text")
    assert reply.status == 200
    assert reply.body == PAGE
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4"
    assert answers.accepts == ["application/openmetrics-text"]


@pytest.mark.parametrize(("path", "name"), [("/livez", "live"), ("/readyz", "ready")])
def test_a_probe_is_200_when_good_and_503_with_the_reason_when_not(
    http_server, answers, path, name
):
    assert ask(http_server, path).status == 200
    setattr(answers, name, (False, "Redis is away"))
    reply = ask(http_server, path)
    assert (reply.status, reply.body) == (503, b"Redis is away\n")


def test_the_status_is_json_and_the_index_links_to_the_pages(http_server):
    reply = ask(http_server, "/status")
    assert json.loads(reply.body) == {"running": 3}
    assert reply.headers["Content-Type"] == "application/json"
    assert b'href="/metrics"' in ask(http_server, "/").body


def test_an_unknown_page_is_404_and_says_which_there_are(http_server):
    reply = ask(http_server, "/metricz")
    assert reply.status == 404
    assert b"/metrics" in reply.body


def test_head_has_the_headers_and_no_body(http_server):
    reply = ask(http_server, "/metrics", method="HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Length"] == str(len(PAGE))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(http_server, method):
    reply = ask(http_server, "/metrics", method=method)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")


def test_the_metrics_are_compressed_only_for_a_client_that_accepts_it(http_server):
    packed = ask(http_server, "/metrics", Accept_Encoding="br, gzip;q=0.8")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == PAGE
    refused = ask(http_server, "/metrics", Accept_Encoding="gzip;q=0")
    assert refused.body == PAGE


def test_every_answer_carries_the_security_headers(http_server):
    for path in ("/", "/metrics", "/nothing"):
        headers = ask(http_server, path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Python" not in headers["Server"]


def test_a_source_that_raises_is_a_500_and_the_other_pages_go_on(answers):
    def broken():
        raise RuntimeError("secret detail")

    server = serve(answers, status=broken)
    server.start()
    try:
        reply = ask(server, "/status")
        assert reply.status == 500
        assert b"secret" not in reply.body
        assert ask(server, "/livez").status == 200
    finally:
        server.close()


def test_a_hundred_idle_connections_and_a_slow_reader_do_not_hold_up_a_scrape(http_server):
    idle = [socket.create_connection(("127.0.0.1", http_server.port)) for _ in range(100)]
    slow = socket.create_connection(("127.0.0.1", http_server.port))
    slow.sendall(b"GET /metrics HTTP/1.0\r\n")  # never ends its request
    try:
        for _ in range(10):
            began = time.monotonic()
            assert ask(http_server, "/metrics").status == 200
            assert time.monotonic() - began < 2
    finally:
        for sock in [*idle, slow]:
            sock.close()


def test_the_number_of_threads_stays_bounded_under_many_connections(http_server):
    before = threading.active_count()
    socks = [socket.create_connection(("127.0.0.1", http_server.port)) for _ in range(150)]
    try:
        assert ask(http_server, "/livez").status == 200
        assert threading.active_count() - before <= 100
    finally:
        for sock in socks:
            sock.close()
    until(lambda: threading.active_count() <= before, 8, "the threads of closed clients end")


def test_garbage_does_not_stop_the_server(http_server):
    for garbage in (b"\x16\x03\x01\x00\xff\x00" * 50, b"GET\r\n\r\n", b"\r\n\r\n", b"G" * 70000):
        with socket.create_connection(("127.0.0.1", http_server.port)) as sock:
            sock.sendall(garbage)
    assert ask(http_server, "/livez").status == 200


def test_closing_is_quick_with_clients_connected_and_may_be_repeated(http_server):
    with socket.create_connection(("127.0.0.1", http_server.port)):
        began = time.monotonic()
        http_server.close()
        http_server.close()
        assert time.monotonic() - began < 2


def test_a_port_can_be_taken_again_right_after_closing(answers):
    first = serve(answers)
    first.start()
    port = first.port
    ask(first, "/livez")
    first.close()
    second = serve(answers, port=port)
    second.start()
    try:
        assert second.port == port
        assert ask(second, "/livez").status == 200
    finally:
        second.close()


def test_a_taken_port_is_one_line_that_says_how_to_choose_another(http_server, answers):
    with pytest.raises(UsageError) as caught:
        serve(answers, port=http_server.port).start()
    line = str(caught.value)
    assert f"127.0.0.1:{http_server.port}" in line
    assert "taken" in line
    assert "http.port" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("no-such-host.invalid", 0, "cannot resolve"),
        ("203.0.113.7", 0, "not an address of this machine"),
        ("127.0.0.1", 70000, "0 to 65535"),
    ],
)
def test_an_impossible_address_is_one_line(answers, host, port, says):
    with pytest.raises(UsageError, match=says):
        serve(answers, host, port).start()


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_it_listens_on_ipv6(answers):
    server = serve(answers, host="::1")
    try:
        server.start()
    except UsageError:
        pytest.skip("this machine has no IPv6 loopback")
    try:
        assert ask(server, "/livez", host="::1").status == 200
    finally:
        server.close()


def test_closing_a_server_that_was_never_started_does_nothing(answers):
    serve(answers).close()
