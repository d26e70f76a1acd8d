"""`worker run --processes N`: N workers as children of one process that serves nothing itself.

Duties: start the children, replace one that dies (with a growing pause), pass signals on, show one
/metrics with the sum, end when they end. A child learns of its parent's death by a pipe and drains.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from taskrig.authoring.registry import load_handlers
from taskrig.broker import Address
from taskrig.config.sections import Config
from taskrig.errors import describe
from taskrig.process.app import CHILD_ENV
from taskrig.process.metrics_merge import Merged
from taskrig.process.signals import FORCE_S, LATE_S
from taskrig.process.systemd import Systemd, without_manager
from taskrig.runtime import early, forked
from taskrig.runtime.logs import stay_seen, without_waiting
from taskrig.texts import host_and_port
from taskrig.web import StatusPage
from taskrig.web.server import HttpServer

log = logging.getLogger("taskrig")

LOOK_S = 0.25  # how late a deadline may be noticed
SCRAPE_S = 0.5  # how often children are asked for their numbers; a killed one loses no more
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LIVED_S = 10.0  # a child that lived this long was well: the next pause is short again
GIVE_UP_AFTER = 5  # children in a row that did not live, before the parent gives up
ASK_S = 2.0  # how long the children may take to answer, all together
END_LATE_S = 8.0  # a child may take so much longer to end than it should; then it is killed
FOR_GOOD = (2,)  # exit codes that another try cannot mend: usage and configuration
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


class Supervisor:
    """The parent of N workers."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._merged = Merged()
        self._lock = threading.Lock()
        self._children: dict[int, Child] = {}
        self._due: dict[int, float] = {}  # slots without a child: when the next one starts
        self._shares = self._divide()
        self._events: queue.SimpleQueue[int | Child] = queue.SimpleQueue()
        self._stopping = False
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._code = 0
        self._kill_at = float("inf")  # whoever has not ended by then
        self._over = threading.Event()
        self._systemd = Systemd()
        self._said_ready = False

    def run(self) -> int:
        """Run until every child has ended; returns the exit code.

        Raises:
            UsageError: handlers or port cannot be.
        """
        load_handlers(
            self._config.handlers, self._config
        )  # what is wrong is said once, not N times
        stay_seen()
        forked.begin()
        early.take(lambda number, _: self._events.put(number), early.ENDING + early.TELL)
        http = self._start_http()
        log.info("supervising %d worker processes", len(self._shares))
        self._due = dict.fromkeys(self._shares, 0.0)
        threading.Thread(target=self._look_after, daemon=True, name="look-after").start()
        while self._children or self._due:
            self._start_due()
            self._kill_late()
            try:
                event = self._events.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            if isinstance(event, Child):
                self._ended(event)
            elif event == signal.SIGUSR1:
                for child in self._children.values():
                    child.process.send_signal(event)  # each tells what it runs
            else:
                self._stop(signal.Signals(event))
        self._over.set()
        forked.end()
        if http is not None:
            http.close()
        log.info("all worker processes have ended, exit %d", self._code)
        return self._code

    def _divide(self) -> dict[int, int | None]:
        """What of max_tasks each slot does: together exactly as many."""
        n, tasks = self._config.worker.processes, self._config.worker.max_tasks
        if tasks is None:
            return dict.fromkeys(range(n))
        return {slot: tasks // n + (slot < tasks % n) for slot in range(min(n, tasks))}

    # -- children --------------------------------------------------------------------------------

    def _start_due(self) -> None:
        now = time.monotonic()
        for slot in [slot for slot, at in self._due.items() if at <= now]:
            del self._due[slot]
            child = self._children[slot] = Child(slot, self._shares[slot])
            threading.Thread(target=child.await_port, daemon=True).start()
            threading.Thread(target=self._watch, args=(child,), daemon=True).start()

    def _watch(self, child: Child) -> None:
        child.process.wait()
        self._events.put(child)

    def _ended(self, child: Child) -> None:
        code = child.process.returncode
        child.forget()
        del self._children[child.slot]
        with self._lock:
            done = self._merged.end(child.slot)
        if code == 0 or self._stopping:
            unready = code in (-signal.SIGTERM, -signal.SIGINT)  # told before it could listen
            self._code = max(self._code, 0 if unready else 1 if code < 0 else code)
            return
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        lived = time.monotonic() - child.started >= LIVED_S
        self._failures = 0 if lived else self._failures + 1
        if code in FOR_GOOD or self._failures >= GIVE_UP_AFTER:
            log.error("worker process %d ended (%s); giving up", child.slot, how)
            self._code = code if code > 0 else 1
            self._stop(signal.SIGTERM)
            return
        share = self._shares[child.slot]
        if share is not None:
            self._shares[child.slot] = max(1, share - done)
        self._pause_s = FIRST_PAUSE_S if lived else min(self._pause_s * 2, LONGEST_PAUSE_S)
        self._due[child.slot] = time.monotonic() + self._pause_s
        log.error(
            "worker process %d ended (%s); another one in %g s", child.slot, how, self._pause_s
        )

    def _stop(self, number: signal.Signals) -> None:
        """Pass a signal on; no child is replaced after it.

        The first goes on as SIGTERM and later ones as SIGINT: two of a kind may arrive as one.
        """
        text = "%s: passed on to %d worker processes"
        without_waiting(log.info, text, number.name, len(self._children))
        passed = signal.SIGINT if self._stopping else signal.SIGTERM
        should_s = 2 * FORCE_S if self._stopping else self._config.worker.drain_timeout_s + LATE_S
        self._kill_at = min(self._kill_at, time.monotonic() + should_s + END_LATE_S)
        self._stopping = True
        self._systemd.stopping()
        self._due.clear()
        for child in self._children.values():
            child.process.send_signal(passed)
            child.process.send_signal(signal.SIGCONT)  # a stopped one would not see the other

    def _kill_late(self) -> None:
        """A child that is frozen, or stuck in the kernel, does not hold the end for ever."""
        if time.monotonic() < self._kill_at:
            return
        self._kill_at = float("inf")
        for child in self._children.values():
            text = "worker process %d does not end: killed; what it holds will be reclaimed"
            without_waiting(log.error, text, child.slot)
            child.process.kill()

    # -- what others see -------------------------------------------------------------------------

    def _start_http(self) -> HttpServer | None:
        http = self._config.http
        if not http.enabled:
            return None
        page = None
        if http.page:
            config = self._config
            page = StatusPage(config, Address(config.redis, config.queue.key, "taskrig-page"))
            page.start()
        server = HttpServer(
            http.host,
            http.port,
            metrics=self._metrics,
            live=self._live,
            ready=self._ready,
            status=self._status,
            page=page,
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

        children = [child for child in list(self._children.values()) if child.port]
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
                if isinstance(page, str) and self._children.get(child.slot) is child:
                    self._merged.update(child.slot, page)

    def _metrics(self, accept: str) -> tuple[bytes, str]:
        self._scrape()
        with self._lock:
            return self._merged.expose(accept)

    def _live(self) -> tuple[bool, str]:
        return self._all_say("/livez")

    def _ready(self) -> tuple[bool, str]:
        if self._stopping:
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
