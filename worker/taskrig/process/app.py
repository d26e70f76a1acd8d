"""The worker as a process: its signals, its HTTP port, its event loop with the engine in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from taskrig.authoring.registry import Registry, load_handlers
from taskrig.config.sections import Config
from taskrig.errors import TaskrigError, describe, ended_with
from taskrig.process.controls import Controls
from taskrig.process.ending import exit_now
from taskrig.process.kept import Kept
from taskrig.process.service import Service
from taskrig.process.signals import Signals
from taskrig.process.task_processes import Launcher, launcher_for
from taskrig.runtime import forked
from taskrig.runtime.logs import for_debug, log_error, stay_seen, without_waiting
from taskrig.runtime.tracebacks import trace
from taskrig.texts import host_and_port
from taskrig.web import StatusPage
from taskrig.web.server import HttpServer

log = logging.getLogger("taskrig")

CHILD_ENV = "TASKRIG_CHILD"  # set for the children of a supervisor: pipes and share, as JSON


def as_child(config: Config, told: str) -> tuple[Config, dict[str, int]]:
    """The config of one child of a supervisor, and its pipes: {"life": fd, "report": fd}."""
    pipes = json.loads(told)
    worker = config.worker.model_copy(update={"max_tasks": pipes.pop("max_tasks")})
    http = config.http.model_copy(update={"host": "127.0.0.1", "port": 0})
    os.environ.pop(CHILD_ENV)  # not for the handlers' own children
    return config.model_copy(update={"worker": worker, "http": http}), pipes


def run_worker(config: Config, pipes: dict[str, int] | None = None) -> int:
    """Run a worker until it is drained; returns the exit code. `pipes`: see `as_child`.

    Raises:
        TaskrigError: it could not start, or had to end; the exit code is the error's.
    """
    registry = load_handlers(config.handlers, config)
    stay_seen()
    pipes = pipes or {}
    launcher = launcher_for(config, registry, pipes.values())
    return App(config, registry, pipes, launcher).run()


class App:
    """One worker process."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        pipes: dict[str, int],
        launcher: Launcher | None = None,
    ) -> None:
        self._pipes = pipes
        self._loop = forked.watched(_new_loop)
        self._service = Service(config, registry, launcher)
        self._controls = Controls(self._service, self._loop)
        self._kept = Kept(self._loop, self._controls)
        self._signals = Signals(self._controls, config.worker.drain_timeout_s)

    def descriptors(self) -> list[int]:
        """What is kept from children."""
        return list(self._pipes.values())

    def run(self) -> int:
        """Serve until drained, and report."""
        self._signals.install()
        forked.begin(self._loop)
        forked.own(self)
        self._kept.start()
        with http_port(self._service, page=not self._pipes) as port:
            if self._pipes:
                _answer_parent(self._pipes, port)
            self._loop.set_exception_handler(_loop_error)
            code, why, debug = 0, "", None
            try:
                self._serve_to_the_end()
            except TaskrigError as fault:
                code, why, debug = fault.exit_code, str(fault), for_debug(fault)
            except BaseException as fault:  # what is not an Exception is a handler's doing
                blame = self._kept.put_back_frames()
                code = 1
                what = f"the worker broke: {describe(fault)}{blame} (--debug shows the traceback)"
                without_waiting(partial(log.critical, "%s", what, exc_info=for_debug(fault)))
            forked.end()
            self._signals.close()
            self._kept.close()
        if why:
            without_waiting(partial(log.error, "stopping: %s", why, exc_info=debug))
        without_waiting(self._service.say_totals, code)
        stuck = self._controls.stuck_handlers()
        if stuck:  # a thread, or a handler that swallowed its cancellation, would not end
            log.warning("%d handlers would not stop; leaving without them", stuck)
        if stuck or code == 1:  # what broke may hold threads that would not let the process end
            exit_now(code)
        return code

    def _serve_to_the_end(self) -> None:
        """Run the loop, also on when something that a handler started stops it."""
        serving = self._loop.create_task(self._service.run())
        while not serving.done():
            try:
                self._loop.run_until_complete(serving)
                break
            except (SystemExit, KeyboardInterrupt) as fault:
                if forked.child:
                    forked.leave(fault)
                did = f"raised {describe(fault)}"
            except RuntimeError as fault:
                if serving.done() or not str(fault).startswith("Event loop stopped"):
                    raise  # asyncio and uvloop say that of a loop that somebody stopped
                did = "stopped the event loop"
            except asyncio.CancelledError:
                break
            if not serving.done():
                log.error("a handler's code %s, which does not stop the worker", did)
        ended = ended_with(serving)
        if ended is not None:
            raise ended


@contextlib.contextmanager
def http_port(service: Service, *, page: bool) -> Iterator[int]:
    """Serve HTTP, with the status page unless it is off or `page` says so; gives the port, 0
    where there is none."""
    http, vitals = service.config.http, service.vitals
    if not http.enabled:
        yield 0
        return
    shown = None
    if http.page and page:
        shown = StatusPage(service.config, service.address, vitals.sample)
        shown.start()
    server = HttpServer(
        *(http.host, http.port),
        metrics=service.metrics.expose,
        live=vitals.live,
        ready=vitals.ready,
        status=vitals.status,
        page=shown,
    )
    server.start()
    vitals.http_address = host_and_port(http.host, server.port)
    try:
        yield server.port
    finally:
        server.close()
        if shown is not None:
            shown.close()


def _answer_parent(pipes: dict[str, int], port: int) -> None:
    """Tell the supervisor our port, and drain when it dies."""
    os.write(pipes["report"], b"%d\n" % port)
    os.close(pipes.pop("report"))
    os.set_inheritable(pipes["life"], False)

    def await_death() -> None:
        os.read(pipes["life"], 1)  # nothing is ever written: this is its end
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=await_death, daemon=True, name="parent").start()


def _loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a handler's own stray tasks raise is theirs: said, and survived."""
    if forked.child:
        forked.leave_loop()
    fault = context.get("exception")
    lines, what = ("", "") if fault is None else (trace(fault).text, f": {describe(fault)}")
    log_error(log, lines, "in the event loop: %s%s", context.get("message"), what)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
