"""The worker as a process: its signals, its HTTP port, its event loop with the engine in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from taskrig import __version__
from taskrig.authoring.context import Process, process
from taskrig.authoring.extras import opened
from taskrig.authoring.registry import Registry, load_handlers
from taskrig.broker import Address, LeaseConnection, check_start
from taskrig.config.sections import Config
from taskrig.engine.engine import Engine
from taskrig.engine.inbox import Drain, Fail, Release
from taskrig.engine.lease import Lease
from taskrig.engine.task_dump import standing
from taskrig.errors import BrokerUnavailable, TaskrigError, describe, ended_with
from taskrig.metrics import Metrics
from taskrig.process.ending import exit_now
from taskrig.process.kept import Kept
from taskrig.process.signals import Signals
from taskrig.process.systemd import Systemd
from taskrig.process.task_processes import Launcher, launcher_for
from taskrig.process.vitals import Vitals
from taskrig.runtime import forked
from taskrig.runtime.logs import for_debug, log_error, stay_seen, without_waiting
from taskrig.runtime.outlet import dropped
from taskrig.runtime.tracebacks import trace
from taskrig.texts import host_and_port
from taskrig.web import StatusPage
from taskrig.web.server import HttpServer

log = logging.getLogger("taskrig")

THREAD_ENDS_S = 0.3  # how long a thread may take from its result to its end
GIVE_BACK_S = 2.0  # how long Redis may take to take back what a stuck worker holds
TURN_S = 0.5  # an event loop that makes no turn for so long is stuck


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
        self.config = config
        self._launcher = launcher
        self.registry = registry
        self._pipes = pipes
        self.id = secrets.token_hex(5)  # random at every start: host and pid repeat in containers
        labels = {handler.label for handler in registry.entries()} | set(config.tasks)
        self.metrics = Metrics(
            *(labels, config.worker.max_concurrent, __version__, config.hash()),
            dry_runs=(handler.label for handler in registry.dry_runs()),
        )
        self.vitals = Vitals(config, self.id, registry, self.metrics)
        self.metrics.longest_running_s = self.vitals.longest_running_s
        self.metrics.lines_dropped = dropped
        self.address = Address(config.redis, config.queue.key, f"taskrig-{self.id}")
        self._port = 0  # of HTTP
        self._process = Process()
        self._loop = forked.watched(_new_loop)
        self._kept = Kept(
            self._loop,
            lambda fault: self._from_thread(self._fail, fault),
            lambda why: self._give_up(why, code=1),
        )
        self._systemd = Systemd()
        self._stop_before_start: str | None = None
        self._stopping = asyncio.Event()
        self._opening: asyncio.Task[None] | None = None
        self._signals = Signals(
            lambda why: self._from_thread(self._drain, why),
            lambda: self._from_thread(self._release),
            self._is_stuck,
            self._give_up,
            self._tell_what_runs,
            config.worker.drain_timeout_s,
        )

    def descriptors(self) -> list[int]:
        """What is kept from children."""
        return list(self._pipes.values())

    # -- life ------------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until drained, and report."""
        self._signals.install()
        forked.begin(self._loop)
        forked.own(self)
        self._kept.start()
        with self._http():
            self._answer_parent()
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
        without_waiting(self._say_totals, code)
        stuck = self._stuck_handlers()
        if stuck:  # a thread, or a handler that swallowed its cancellation, would not end
            log.warning("%d handlers would not stop; leaving without them", stuck)
        if stuck or code == 1:  # what broke may hold threads that would not let the process end
            exit_now(code)
        return code

    def _serve_to_the_end(self) -> None:
        """Run the loop, also on when something that a handler started stops it."""
        serving = self._loop.create_task(self._serve())
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

    async def _serve(self) -> None:
        if not await self._checked():
            log.info("stopped before the start: %s", self._stop_before_start)
            return
        self._opening = asyncio.current_task()  # from here on a stop cancels it, until all is open
        try:
            async with opened(self.registry.resources, log.error):
                self._opening = None
                await asyncio.sleep(0)  # here comes a cancellation that was just under way
                if not self._stopping.is_set():
                    await self._run_engine()
        except (Exception, asyncio.CancelledError):
            if self.vitals.engine is not None or not self._stopping.is_set():
                raise
        if self.vitals.engine is None:
            log.info("stopped before the start: %s", self._stop_before_start)

    async def _checked(self) -> bool:
        """Wait for Redis and check it; False when a signal came first, whatever Redis does."""
        loop = asyncio.get_running_loop()
        checking = loop.create_task(check_start(self.config, self.address, log.warning))
        stopping = loop.create_task(self._stopping.wait())
        await asyncio.wait([checking, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not self._stopping.is_set():
            await checking
            return True
        checking.cancel()
        await asyncio.wait([checking], timeout=TURN_S)
        if checking.done() and not checking.cancelled():
            checking.exception()  # which is of no interest any more
        return False

    async def _run_engine(self) -> None:
        config = self.config
        process.set(self._process)
        connection = LeaseConnection(config, self.id, self.address)
        lease = Lease(connection, config.worker.lease_s, self.vitals.describe)
        engine = self.vitals.engine = Engine(
            *(config, self.id, self.address, self.registry, self.metrics, lease),
            *(self._launcher, self._drain),
        )
        self._say_start()
        self._systemd.ready()
        self._systemd.feed_from_loop(self.vitals.live)
        await engine.run()

    def _say_start(self) -> None:
        config, worker, address = self.config, self.config.worker, self.vitals.http_address
        log.info(
            "started: queue %s at %s, looks again every %g s, at most %d at once, worker %s%s",
            *(config.queue.told, self.address.where, worker.interval_s),
            *(worker.max_concurrent, self.id, f", metrics on {address}" if address else ""),
        )
        if dry := self.registry.dry_runs():
            types = ", ".join(f"{one.type} ({one.dry_run})" for one in dry)
            log.warning("dry run, so tasks of these types have no effect: %s", types)

    def _say_totals(self, code: int) -> None:
        totals, invalid = self.metrics.totals(), sum(self.metrics.invalid.values())
        dry = self.metrics.dry_runs()
        log.info(
            "stopped: %d done%s, %d failed, %d invalid, %d released, exit %d",
            *(totals["succeeded"], f" ({dry} of them dry runs)" if dry else ""),
            *(totals["failed"], invalid, totals["released"], code),
        )

    # -- stopping --------------------------------------------------------------------------------

    def _from_thread(self, function: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            pass  # the loop has ended

    def _drain(self, why: str) -> None:
        self._stop_before_start = why
        self._stopping.set()
        if self._opening is not None:
            self._opening.cancel()
        self.metrics.draining = 1
        self._systemd.stopping()
        self._process.draining = True
        engine = self.vitals.engine
        if engine is not None:
            if engine.consumer.capacity.claiming and not why.startswith("SIG"):
                log.info("draining: %s", why)
            if engine.processes is not None:
                engine.processes.drain()
            engine.inbox.order(Drain(self.config.worker.drain_timeout_s))

    def _fail(self, fault: BaseException) -> None:
        if self.vitals.engine is not None:
            self.vitals.engine.inbox.order(Fail(fault))

    def _release(self) -> None:
        if self.vitals.engine is not None:
            self.vitals.engine.inbox.order(Release())

    def _stuck_handlers(self) -> int:
        """How many still run; one that has delivered its result may take a moment to end."""
        engine = self.vitals.engine
        patience_s = time.monotonic() + THREAD_ENDS_S
        while engine is not None and (stuck := engine.unstoppable()):
            if time.monotonic() > patience_s:
                return stuck
            time.sleep(0.01)
        return 0

    def _give_up(self, why: str = "", code: int = 0) -> None:
        """In another thread: the worker does not end; give back what can be, and leave."""
        why = why or self._why_late()
        engine = self.vitals.engine
        if engine is not None:
            engine.lease.stop()
        held, tags = engine.in_hand() if engine is not None else (0, [])
        fault = self._give_back(tags) if tags else ""
        left = held if fault else held - len(tags)
        text = f"{why}: leaving without it; {len(tags) if not fault else 0} tasks released"
        if left:
            text += f", {left} stay in flight and will be reclaimed{fault and f' ({fault})'}"
        without_waiting(log.error if left else log.warning, text)
        exit_now(3 if left else code)

    def _give_back(self, tags: list[str]) -> str:
        """Release them over a connection of its own; why that failed, else ""."""
        faults = ["Redis does not answer"]

        def release() -> None:
            try:
                LeaseConnection(self.config, self.id, self.address).release(tags[::-1])
                faults[:] = [""]
            except BrokerUnavailable as error:
                faults[:] = [str(error)]

        thread = threading.Thread(target=release, daemon=True, name="give-back")
        thread.start()
        thread.join(GIVE_BACK_S)
        return faults[0]

    def _is_stuck(self) -> bool:
        turned = threading.Event()
        self._from_thread(turned.set)
        return not turned.wait(TURN_S)

    def _why_late(self) -> str:
        """What keeps the worker from ending."""
        engine = self.vitals.engine
        if self._is_stuck():
            return "a handler blocks the event loop"
        if engine is not None and engine.consumer.outage.since is not None:
            return "Redis is away"
        return "the end takes too long"

    def _tell_what_runs(self) -> None:
        """In the signals' thread, so that a handler that blocks the event loop is told too."""
        running = self.vitals.running
        log.info("SIGUSR1: %d tasks run", len(running))
        for line in standing(running, threading.main_thread().ident):
            log.info("runs: %s", line)
        engine = self.vitals.engine
        if engine is not None and engine.processes is not None:
            engine.processes.tell()

    # -- what others see -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _http(self) -> Iterator[None]:
        """The HTTP port, with the status page unless it is off or a supervisor shows one for us."""
        http, vitals = self.config.http, self.vitals
        if not http.enabled:
            yield
            return
        page = None
        if http.page and not self._pipes:
            page = StatusPage(self.config, self.address, vitals.sample)
            page.start()
        server = HttpServer(
            *(http.host, http.port),
            metrics=self.metrics.expose,
            live=vitals.live,
            ready=vitals.ready,
            status=vitals.status,
            page=page,
        )
        server.start()
        vitals.http_address = host_and_port(http.host, server.port)
        self._port = server.port
        try:
            yield
        finally:
            server.close()
            if page is not None:
                page.close()

    def _answer_parent(self) -> None:
        """Tell the supervisor our port, and drain when it dies."""
        if not self._pipes:
            return
        os.write(self._pipes["report"], b"%d\n" % self._port)
        os.close(self._pipes.pop("report"))
        os.set_inheritable(self._pipes["life"], False)

        def await_death() -> None:
            os.read(self._pipes["life"], 1)  # nothing is ever written: this is its end
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
