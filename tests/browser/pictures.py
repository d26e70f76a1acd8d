"""`make pictures`: the pictures of the README and of docs/images, from a real run.

Starts a Redis and a worker as `make up` does without Docker, in a folder and on ports of their own;
puts a load on it, takes the status page while it runs and the report afterwards. Two runs differ in
nothing but data.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import NamedTuple

import redis

from deploy.local import ports
from tests.browser.page import NEEDS, Browser, find_programs, start_chromium
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
TOKEN = "only-for-these-pictures"
SECONDS = int(os.environ.get("SECONDS") or 60)
LOAD = ("--mix", "fast=6,medium=2,slow=1", "--rate", "10", "--arrivals", "poisson", "--calibrate")
PANES = Template("""<!doctype html><meta charset="utf-8"><style>
body{margin:0;width:1640px;display:grid;grid-template-columns:1fr 1fr;gap:20px;background:#e8ecf1}
figure{margin:0;height:900px;overflow:hidden;background:#fff}
img{width:810px;display:block}</style>
<figure><img src="$status"></figure><figure><img src="$report"></figure>""")


class Running(NamedTuple):
    """Where what was started is reached."""

    redis_url: str
    page: str


def main() -> int:
    """Make all pictures; exit code 2: there is no browser."""
    programs = find_programs()
    if programs is None:
        print(f"pictures: {NEEDS}", file=sys.stderr)
        return 2
    chromium = start_chromium(*programs)
    try:
        with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as running:
            take(Browser(chromium), running, Path(folder))
    finally:
        chromium.quit()
    print(*sorted(path.relative_to(ROOT) for path in IMAGES.glob("*.png")), sep="\n")
    return 0


@contextmanager
def started(folder: Path) -> Iterator[Running]:
    """A server and a worker of ten slots."""
    redis_port, http_port = ports.next_free(16379), ports.next_free(19464)
    env = {
        **os.environ,
        "RUN_DIR": str(folder / "run"),
        "TASKRIG_HANDLERS": "taskrig.handlers,tests.browser.shop",
        "TASKRIG_HTTP__TOKEN": TOKEN,
    }
    local = [sys.executable, "-m", "deploy.local"]
    where = ["--how", "native", "--redis-port", str(redis_port), "--port", str(http_port)]
    try:
        subprocess.run(
            [*local, "up", *where, "--max-concurrent", "10"], cwd=ROOT, env=env, check=True
        )
        yield Running(f"redis://localhost:{redis_port}/0", f"http://127.0.0.1:{http_port}/")
    finally:
        subprocess.run([*local, "down"], cwd=ROOT, env=env, check=False)


def take(browser: Browser, running: Running, folder: Path) -> None:
    """The pictures of one run."""
    server = redis.Redis.from_url(running.redis_url)
    report, hero = folder / "run.html", folder / "hero.html"
    browser.open(running.page, width=1280, height=900)
    unlock(browser)
    pause(browser, "email", "the mail server is down")
    command = [sys.executable, "-m", "taskrig_loadgen", "run", *LOAD, "--duration", f"{SECONDS}s"]
    command += ["--html", str(report), "--redis-url", running.redis_url, "--quiet"]
    load = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    until(lambda: succeeded(server) >= SECONDS * 8, SECONDS * 3, "the load has run for a while")
    push(server, "email", "charge", "charge")
    server.lpush("async_tasks", "no JSON")
    browser.sees("the bank does not answer", "#letters", 30)
    browser.sees("_task", "#running", 30)
    browser.picture(IMAGES / "status-page-desktop-light.png")
    for width, dark in ((1280, True), (390, False), (390, True)):
        shape = f"{'phone' if width < 600 else 'desktop'}-{'dark' if dark else 'light'}"
        browser.open(running.page, width=width, height=900, dark=dark)
        unlock(browser)
        browser.sees("the bank does not answer", "#letters", 30)
        browser.sees("at most", "#plots")
        browser.sees("_task", "#running", 30)
        browser.picture(IMAGES / f"status-page-{shape}.png")
    if load.wait(SECONDS * 3):
        raise SystemExit(f"pictures: the load ended with exit code {load.returncode}")
    browser.open(report.as_uri(), width=500, height=900, dark=True)
    browser.picture(IMAGES / "loadgen-report-phone-dark.png", most=1300)
    browser.open(report.as_uri(), width=1180, height=900)
    browser.picture(IMAGES / "loadgen-report.png", most=1320)
    panes = {name: (IMAGES / f"{file}.png").as_uri() for name, file in PARTS.items()}
    hero.write_text(PANES.substitute(panes))
    browser.open(hero.as_uri(), width=1640, height=900)
    browser.picture(IMAGES / "taskrig.png")


PARTS = {"status": "status-page-desktop-light", "report": "loadgen-report"}


def unlock(browser: Browser) -> None:
    """Give the page its token."""
    browser.sees("live", "#state")
    browser.click("#unlock")
    browser.type_in("#token", TOKEN + "\n")


def pause(browser: Browser, task_type: str, why: str) -> None:
    """Pause a type on the page."""
    browser.type_in("#pause-type [name=type]", task_type)
    browser.type_in("#pause-type [name=why]", why)
    browser.press("Pause type")
    browser.sees(why, "main")


def push(server: redis.Redis, *types: str) -> None:
    """One task of each type."""
    for number, task_type in enumerate(types, 4711):
        server.lpush("async_tasks", json.dumps({"type": task_type, "data": {"order": number}}))


def succeeded(server: redis.Redis) -> int:
    """How many tasks have succeeded."""
    return int(server.hget("{async_tasks}:stats", "succeeded") or 0)


if __name__ == "__main__":
    sys.exit(main())
