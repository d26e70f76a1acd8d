"""A proxy in the environment is for other machines: nothing asks this one through it."""

from __future__ import annotations

import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from taskrig_loadgen.run.external_observer import NotScraped, scrape
from tests.support.processes import run_to_end
from tests.support.servers import free_port
from tests.support.waiting import until

NAMES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
PAGE = b'worker_tasks_total{outcome="succeeded",type="a"} 7\n'


def a_proxy(address: str) -> dict[str, str]:
    """The environment of somebody whose requests to other machines need that proxy."""
    return {**dict.fromkeys(NAMES, address), "no_proxy": "", "NO_PROXY": ""}


class Server(HTTPServer):
    """Answers every request with metrics, and remembers what was asked for."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(PAGE)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__((host, 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def proxy(monkeypatch):
    """A proxy that this process's environment names."""
    with Server() as server:
        for name, value in a_proxy(f"http://127.0.0.1:{server.server_port}").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of before
        yield server
        server.shutdown()


def test_the_processes_of_a_worker_are_asked_without_the_proxy_of_the_environment(world):
    env = a_proxy(f"http://127.0.0.1:{free_port()}")  # nothing listens there
    worker = world.start_worker(None, "--processes", "2", env=env)  # ready: it asked them all
    world.enqueue("note", 5)
    world.all_settled()
    until(lambda: worker.metric("worker_tasks_total", outcome="succeeded") == 5)
    until(lambda: worker.get("/livez") == (200, "2 processes\n"))
    assert len(worker.status()["processes"]) == 2


@pytest.mark.parametrize("address", ["http://127.0.0.1:{}", "127.0.0.1:{}", "no proxy at all", "x"])
def test_a_health_check_asks_without_it_too(world, address):
    worker = world.start_worker()
    env = a_proxy(address.format(free_port()))
    for flag in ([], ["--ready"]):
        done = run_to_end(
            "worker",
            "healthcheck",
            *flag,
            "--set",
            f"http.port={worker.http_port}",
            cwd=world.folder,
            env=env,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:{}/metrics"),
        ("127.0.0.1", "http://localhost:{}/metrics"),
        ("127.0.0.1", "http://LocalHost:{}/metrics"),
        ("127.0.0.7", "http://127.0.0.7:{}/metrics"),
        ("127.0.0.1", "http://0.0.0.0:{}/metrics"),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]:{}/metrics"),
    ],
)
async def test_loadgen_scrapes_a_worker_on_this_machine_without_it(proxy, host, url):
    with Server(host) as worker:
        totals = await scrape([url.format(worker.server_port)])
        worker.shutdown()
    assert totals.ended == {("a", "succeeded"): 7.0}
    assert (proxy.asked, worker.asked) == ([], ["/metrics"])


async def test_loadgen_scrapes_a_worker_elsewhere_through_it(proxy):
    await scrape(["http://worker.example:9464/metrics"])
    assert proxy.asked == ["http://worker.example:9464/metrics"]


async def test_a_proxy_that_cannot_be_is_one_clear_line_where_it_is_needed(monkeypatch):
    monkeypatch.setenv("http_proxy", "no proxy at all")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(NotScraped, match="cannot read the metrics of a worker at http://elsewhere"):
        await scrape(["http://elsewhere.example:9464/metrics"])
