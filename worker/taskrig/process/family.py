"""The processes of `--processes` as one: their numbers, whether they live, what they run."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from taskrig.broker import Address
from taskrig.config.sections import Config
from taskrig.errors import describe
from taskrig.process.app import CHILD_ENV
from taskrig.process.metrics_merge import Merged
from taskrig.process.systemd import Systemd, without_manager
from taskrig.runtime import forked
from taskrig.texts import host_and_port
from taskrig.web import StatusPage
from taskrig.web.server import HttpServer

log = logging.getLogger("taskrig")

SCRAPE_S = 0.5  # how often children are asked for their numbers; a killed one loses no more
ASK_S = 2.0  # how long the children may take to answer, all together
# A proxy that the environment names does not lead to this machine.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Child:
    """One worker process in its slot."""

    def __init__(self, slot: int, share: int | None) -> None:
        life_read, self._life = os.pipe()  # closes when this process ends, however it ends
        self._report, report_write = os.pipe()
        told = {"life": life_read, "report": report_write, "max_tasks": share}
        self.slot = slot
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "taskrig", *sys.argv[1:]],
            env={**without_manager(os.environ), CHILD_ENV: json.dumps(told)},
            pass_fds=(life_read, report_write),
            start_new_session=True,  # a Ctrl-C in the terminal reaches it through the parent only
        )
        os.close(life_read)
        os.close(report_write)
        self.port = 0
        forked.own(self)

    def await_port(self) -> None:
        """Read the port of its HTTP server; 0 when it ended before it had one."""
        with os.fdopen(self._report, "rb") as pipe:
            self.port = int(pipe.readline() or 0)

    def ask(self, path: str) -> str:
        """Its page at `path`; raises OSError."""
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            with _DIRECTLY.open(url, timeout=ASK_S) as answer:
                return str(answer.read().decode())
        except (HTTPException, ValueError) as fault:  # it has ended in the middle of its answer
            raise OSError(describe(fault)) from None

    def descriptors(self) -> list[int]:
        """What is kept from children: with it they would hide this process's death from workers."""
        return [self._life] if self._life >= 0 else []

    def forget(self) -> None:
        """Close this side of the pipe of a child that ended."""
        os.close(self._life)
        self._life = -1


class Family:
    """`children` by slot, of those that live. `draining`: they were told to end."""

    def __init__(self, config: Config) -> None:
        self.children: dict[int, Child] = {}
        self.draining = False
        self._config = config
        self._merged = Merged()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._http: HttpServer | None = None
        self._page: StatusPage | None = None
        self._systemd = Systemd()
        self._said_ready = False

    def start(self) -> None:
        """Answer for all of them from now on; raises UsageError when the port cannot be had."""
        self._http = self._start_http()
        threading.Thread(target=self._look_after, daemon=True, name="look-after").start()

    def close(self) -> None:
        """All have ended."""
        self._over.set()
        if self._http is not None:
            self._http.close()
        if self._page is not None:
            self._page.close()

    def drain(self) -> None:
        """They are told to end."""
        self.draining = True
        self._systemd.stopping()

    def lose(self, child: Child) -> int:
        """One has ended; how many tasks it had done that count for `max_tasks`."""
        child.forget()
        del self.children[child.slot]
        with self._lock:
            return self._merged.end(child.slot)

    def _start_http(self) -> HttpServer | None:
        http = self._config.http
        if not http.enabled:
            return None
        if http.page:
            config = self._config
            address = Address(config.redis, config.queue.key, "taskrig-page")
            self._page = StatusPage(config, address)
            self._page.start()
        server = HttpServer(
            http.host,
            http.port,
            metrics=self._metrics,
            live=self._live,
            ready=self._ready,
            status=self._status,
            page=self._page,
        )
        server.start()
        log.info("metrics of all processes on %s", host_and_port(http.host, server.port))
        return server

    def _look_after(self) -> None:
        """In a thread of its own: a child that does not answer must not delay a signal."""
        while not self._over.wait(SCRAPE_S):
            try:
                self._scrape()
                self._tell_manager()
            except Exception:
                log.exception("could not ask the worker processes")

    def _tell_manager(self) -> None:
        if not self._said_ready and self._ready()[0]:
            self._said_ready = True
            self._systemd.ready()
        if self._said_ready:
            self._systemd.feed(self._live)

    def _ask_all(self, path: str) -> list[tuple[Child, str | OSError]]:
        """What each child answers; however many are frozen, it takes ASK_S at most."""
        answers: dict[Child, str | OSError] = {}

        def ask(child: Child) -> None:
            try:
                answers[child] = child.ask(path)
            except OSError as error:
                answers[child] = error

        children = [child for child in list(self.children.values()) if child.port]
        threads = [threading.Thread(target=ask, args=(one,), daemon=True) for one in children]
        for thread in threads:
            thread.start()
        until = time.monotonic() + ASK_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        late = TimeoutError(f"no answer within {ASK_S:g} s")
        return [(child, answers.get(child, late)) for child in children]

    def _scrape(self) -> None:
        for child, page in self._ask_all("/metrics"):
            with self._lock:  # of one that blocks or has just ended the numbers of before stay
                if isinstance(page, str) and self.children.get(child.slot) is child:
                    self._merged.update(child.slot, page)

    def _metrics(self, accept: str) -> tuple[bytes, str]:
        self._scrape()
        with self._lock:
            return self._merged.expose(accept)

    def _live(self) -> tuple[bool, str]:
        return self._all_say("/livez")

    def _ready(self) -> tuple[bool, str]:
        if self.draining:
            return False, "draining"
        return self._all_say("/readyz")

    def _all_say(self, path: str) -> tuple[bool, str]:
        answers = self._ask_all(path)
        for child, answer in answers:
            if isinstance(answer, urllib.error.HTTPError):
                return False, f"process {child.slot}: {answer.read(200).decode().strip()}"
            if isinstance(answer, OSError):
                return False, f"process {child.slot}: {answer}"
        return bool(answers), f"{len(answers)} processes"

    def _status(self) -> dict[str, Any]:
        answers = [answer for _, answer in self._ask_all("/status")]
        return {"processes": [json.loads(one) for one in answers if isinstance(one, str)]}
