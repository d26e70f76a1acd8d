"""Composition root: builds the parts, starts them, drains and stops them in order.

Stop order is the nesting in `_serve`, inside out: consumer, upkeep, lease (renewed until the last
task is settled), connections.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import threading
import time
from functools import partial
from typing import Any

from worker import __version__, forked
from worker.broker import Address, Broker, LeaseWire, check_start
from worker.config import Config
from worker.config.http_address import host_and_port
from worker.consumer import Consumer
from worker.errors import BrokerUnavailable, TaskrigError, describe, ended_with
from worker.executor import Executor
from worker.extras import opened
from worker.faults import trace
from worker.http import HttpServer
from worker.journal import Journal
from worker.kept import Kept
from worker.lease import Lease
from worker.logs import log_error, stay_seen, without_waiting
from worker.metrics import Metrics
from worker.outlet import dropped, settle
from worker.page import Sample, StatusPage
from worker.plan import Plans
from worker.reclaimer import Reclaimer
from worker.registry import Registry, load_handlers
from worker.running import Process, process
from worker.schedule import parse_line
from worker.scheduler import Scheduler
from worker.signals import Signals
from worker.standing import standing
from worker.systemd import Systemd
from worker.upkeep import Upkeep

log = logging.getLogger("worker")

STALL_S = 30.0  # without a successful exchange for this long, with Redis there: not alive
RUNNING_SHOWN = 100  # of the running tasks in a worker's description
TYPES_SHOWN = 100  # with more handlers than that it says of none


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
    return App(config, registry, pipes or {}).run()


class App:
    """One worker process."""

    def __init__(self, config: Config, registry: Registry, pipes: dict[str, int]) -> None:
        self.config = config
        self._pipes = pipes
        self.registry = registry
        self.id = secrets.token_hex(5)  # random at every start: host and pid repeat in containers
        self.started_at = time.time()
        handlers = registry.entries()
        labels = {handler.label for handler in handlers} | set(config.tasks)
        types = sorted(handler.type for handler in handlers)
        self._types = types if len(types) <= TYPES_SHOWN else None
        self._limited: list[str] = []  # names in keys of the types that this worker limits
        self.metrics = Metrics(
            labels, config.worker.max_concurrent, __version__, config.hash(),
            dry_runs=(handler.label for handler in registry.dry_runs()),
        )  # fmt: skip
        self.metrics.longest_running_s = self._longest_running_s
        self.metrics.lines_dropped = dropped
        self.address = Address(config.redis, config.queue.key, f"taskrig-{self.id}")
        self.http: HttpServer | None = None
        self.page: StatusPage | None = None
        self.consumer: Consumer | None = None
        self.upkeep: Upkeep | None = None
        self.process = Process()
        self.lease: Lease | None = None
        self._loop = forked.watched(_new_loop)
        self._kept = Kept(
            self._loop,
            lambda fault: self._from_thread(self._fail, fault),
            lambda why: self._give_up(why, code=1),
        )
        self._systemd = Systemd()
        self._stop_before_start: str | None = None
        self._signals = Signals(
            lambda why: self._from_thread(self._drain, why),
            lambda: self._from_thread(self._release),
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
        self._start_http()
        self._answer_parent()
        self._loop.set_exception_handler(self._loop_error)
        code, why = 0, ""
        try:
            self._serve_to_the_end()
        except TaskrigError as fault:
            code, why = fault.exit_code, str(fault)
        except BaseException as fault:  # also what is not an Exception would be a handler's doing
            blame = self._kept.put_back_frames()
            code = 1
            without_waiting(partial(log.critical, "the worker broke%s", blame, exc_info=fault))
        forked.end()
        self._signals.close()
        self._kept.close()
        if self.http is not None:
            self.http.close()
        if self.page is not None:
            self.page.close()
        if why:
            without_waiting(log.error, "stopping: %s", why)
        without_waiting(self._say_totals, code)
        self._leave_process(code)
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
        config = self.config
        await check_start(
            config, self.address, log.warning, lambda: self._stop_before_start is not None
        )
        if self._stop_before_start is not None:
            log.info("stopped before the start: %s", self._stop_before_start)
            return
        async with opened(self.registry.resources, log.error):
            await self._consume()

    async def _consume(self) -> None:
        config = self.config
        plans = Plans(self.registry, config.tasks)
        self._limited = [p.limits.name for p in plans.limited() if p.limits is not None]
        unique = any(plan.limits is not None and plan.limits.unique for plan in plans.limited())
        broker = Broker(config, self.id, self.address, positions=unique)
        lease = self.lease = Lease(
            LeaseWire(config, self.id, self.address),
            config.worker.lease_s,
            self._describe,
            lambda fault: self._from_thread(self._fail, fault),
        )
        journal = Journal(
            self.metrics,
            sample=config.log.task_sample,
            failures=config.log.tasks != "none",
            previews=config.log.previews,
            redis_time=lease.redis_time,
            hint=self.registry.hint,
        )
        executor = Executor(plans, self.registry.middleware)
        process.set(self.process)
        consumer = self.consumer = Consumer(config, broker, executor, lease, journal)
        consumer.asked_to_drain = self._drain
        reclaimer = Reclaimer(config, broker, consumer, lease, self.metrics)
        upkeep = self.upkeep = Upkeep(config, broker, consumer, self.metrics, reclaimer, plans)
        self.metrics.redis_up = 1
        lease.start()
        log.info(
            "started: queue %s at %s, looks again every %g s, at most %d at once, worker %s%s",
            config.queue.told, self.address.where, config.worker.interval_s,
            config.worker.max_concurrent, self.id,
            f", metrics on {self._http_address()}" if self.http else "",
        )  # fmt: skip
        if dry := self.registry.dry_runs():
            log.warning("dry run, so tasks of these types have no effect: %s",
                        ", ".join(f"{one.type} ({one.dry_run})" for one in dry))  # fmt: skip
        self._systemd.ready()
        self._systemd.feed_from_loop(self.live)
        scheduler = Scheduler(
            [parse_line(line) for line in config.schedule], config.worker.schedule_grace_s,
            broker, self.metrics, lambda: lease.redis_time(time.monotonic()),
        )  # fmt: skip
        scheduling = asyncio.get_running_loop().create_task(scheduler.run())
        scheduling.add_done_callback(lambda task: self._part_ended(task, consumer))
        keeping = asyncio.get_running_loop().create_task(upkeep.run())
        keeping.add_done_callback(lambda task: self._part_ended(task, consumer))
        try:
            await upkeep.first_look()
            await consumer.run()
        finally:
            upkeep.stop()
            scheduler.stop()
            await asyncio.wait([keeping, scheduling], timeout=2)
            lease.stop()
            await self._leave(broker, lease)
            await broker.close()

    async def _leave(self, broker: Broker, lease: Lease) -> None:
        for _ in range(200):  # not in the loop's pool of threads: a handler may have ended that
            if lease.renewing:
                await asyncio.sleep(0.01)
        if self.consumer is not None and self.consumer.outage.since is None:
            try:
                await broker.leave()
            except BrokerUnavailable as error:
                log.warning("could not sign off, the lease will run out: %s", error)

    def _fail(self, fault: BaseException) -> None:
        if self.consumer is not None:
            self.consumer.fail(fault)

    def _part_ended(self, task: asyncio.Task[None], consumer: Consumer) -> None:
        fault = ended_with(task)
        if fault is not None:
            consumer.fail(fault)

    def _loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What a handler's own stray tasks raise is theirs: said, and survived."""
        if forked.child:
            forked.leave_loop()
        fault = context.get("exception")
        lines, what = ("", "") if fault is None else (trace(fault).text, f": {describe(fault)}")
        log_error(log, lines, "in the event loop: %s%s", context.get("message"), what)

    def _say_totals(self, code: int) -> None:
        totals, dry = self.metrics.totals(), self.metrics.dry_runs()
        log.info(
            "stopped: %d done%s, %d failed, %d invalid, %d released, exit %d",
            totals["succeeded"],
            f" ({dry} of them dry runs)" if dry else "",
            totals["failed"],
            sum(self.metrics.invalid.values()),
            totals["released"],
            code,
        )

    def _leave_process(self, code: int) -> None:
        """End even if a thread or a handler that swallowed its cancellation would not."""
        consumer = self.consumer
        if consumer is not None and consumer.slots.unstoppable:
            stuck = consumer.slots.unstoppable
            log.warning("%d handlers would not stop; leaving without them", stuck)
            _exit_now(code)
        if code == 1:
            _exit_now(code)  # what broke may hold threads that would not let the process end

    # -- stopping --------------------------------------------------------------------------------

    def _from_thread(self, function: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            pass  # the loop has ended

    def _drain(self, why: str) -> None:
        self._stop_before_start = why
        self.metrics.draining = 1
        self._systemd.stopping()
        self.process.draining = True
        if self.consumer is not None:
            if self.consumer.claiming and not why.startswith("SIG"):
                log.info("draining: %s", why)
            self.consumer.drain(self.config.worker.drain_timeout_s)

    def _release(self) -> None:
        if self.consumer is not None:
            self.consumer.release()

    def _give_up(self, why: str, code: int = 0) -> None:
        """In another thread: the event loop does not end; give back and leave without it."""
        consumer = self.consumer
        tags = list(consumer.running) if consumer is not None else []
        if self.lease is not None:
            self.lease.stop()
        try:
            LeaseWire(self.config, self.id, self.address).release(tags[::-1])
            text = "%s: %d tasks released, leaving without it, exit %d"
            without_waiting(log.warning, text, why, len(tags), code)
            _exit_now(code)
        except BrokerUnavailable as error:
            text = "%s, and Redis is away (%s): %d tasks stay in flight and will be reclaimed"
            without_waiting(log.error, text, why, error, len(tags))
            _exit_now(3)

    def _tell_what_runs(self) -> None:
        """In the signals' thread, so that a handler that blocks the event loop is told too."""
        consumer = self.consumer
        running = list(consumer.running.values()) if consumer is not None else []
        log.info("SIGUSR1: %d tasks run", len(running))
        for line in standing(running, threading.main_thread().ident):
            log.info("runs: %s", line)

    # -- what others see -------------------------------------------------------------------------

    def _start_http(self) -> None:
        http = self.config.http
        if http.enabled:
            self.http = HttpServer(
                http.host, http.port,
                metrics=self.metrics.expose, live=self.live, ready=self.ready, status=self.status,
                page=self._make_page(),
            )  # fmt: skip
            self.http.start()

    def _make_page(self) -> StatusPage | None:
        """The status page, unless it is off or a supervisor shows one for all of us."""
        if self.config.http.page and not self._pipes:
            self.page = StatusPage(self.config, self.address, self._sample)
            self.page.start()
        return self.page

    def _sample(self) -> Sample | None:
        """The depths that upkeep saw last: the page's plots cost Redis nothing more."""
        seen = self.upkeep.depths if self.upkeep is not None else None
        if seen is None or not self.metrics.redis_up:
            return None
        oldest_s = self.metrics.oldest_age_s
        return Sample(seen.waiting, seen.in_flight, seen.dead, seen.claimed, oldest_s)

    def _http_address(self) -> str:
        """Where the HTTP port is, "" where there is none."""
        return host_and_port(self.config.http.host, self.http.port) if self.http else ""

    def _answer_parent(self) -> None:
        """Tell the supervisor our port, and drain when it dies."""
        if not self._pipes:
            return
        port = self.http.port if self.http is not None else 0
        os.write(self._pipes["report"], b"%d\n" % port)
        os.close(self._pipes.pop("report"))
        os.set_inheritable(self._pipes["life"], False)

        def await_death() -> None:
            os.read(self._pipes["life"], 1)  # nothing is ever written: this is its end
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=await_death, daemon=True, name="parent").start()

    def _longest_running_s(self) -> float:
        consumer = self.consumer
        running = list(consumer.running.values()) if consumer is not None else []
        return time.monotonic() - min(e.started for e in running) if running else 0.0

    def live(self) -> tuple[bool, str]:
        """Whether this process should go on: not its handlers, not Redis, but its own loops."""
        consumer, upkeep, lease = self.consumer, self.upkeep, self.lease
        if consumer is None or upkeep is None or lease is None:
            return True, "starting"
        if lease.failed is not None:
            return False, "the lease thread died"
        now = time.monotonic()
        if now - upkeep.beat_at > 2.0:
            return True, f"a handler has blocked the event loop for {now - upkeep.beat_at:.1f} s"
        silent_s = now - consumer.exchanged_at
        if consumer.outage.since is None and silent_s > max(
            STALL_S, 3 * self.config.worker.lease_s
        ):
            return False, f"no exchange with Redis for {silent_s:.0f} s"
        return True, "ok"

    def ready(self) -> tuple[bool, str]:
        """Whether this worker takes tasks: Redis is there, the queue was looked at, no drain."""
        consumer = self.consumer
        if self.metrics.draining:
            return False, "draining"
        if consumer is None:
            return False, "starting"
        if consumer.outage.since is not None or not self.metrics.redis_up:
            return False, "Redis is away"
        if not self.metrics.looked:
            return False, "has not looked at the queue yet"
        return True, "ok"

    def status(self) -> dict[str, Any]:
        """This worker, for /status."""
        described: dict[str, Any] = json.loads(self._describe())
        seen = self.upkeep.depths if self.upkeep is not None else None
        return described | {
            "queue": self.config.queue.key,
            "depth": dict(self.metrics.depth) if self.metrics.looked else {},  # {}: not known yet
            "draining": bool(self.metrics.draining),
            "paused": bool(self.metrics.paused),
            "paused_types": sorted(seen.paused_types) if seen is not None else [],
        }

    def _server_time(self, monotonic: float, offset_s: float) -> float:
        """Unix seconds by the server's clock, which those who look compare with; else by ours."""
        known = self.lease.redis_time(monotonic) if self.lease is not None else 0.0
        return known or monotonic + offset_s

    def _describe(self) -> str:
        """This worker as the others see it in P:about; called in other threads."""
        consumer, now = self.consumer, time.monotonic()
        running = list(consumer.running.values()) if consumer is not None else []
        at = time.time()
        return json.dumps(
            {
                "id": self.id,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started": round(self.started_at, 3),
                "concurrency": self.config.worker.max_concurrent,
                "version": __version__,
                "http": self._http_address(),
                "types": self._types,
                "limited": self._limited,
                "lease": self.config.worker.lease_s,
                "running": [
                    {
                        "tag": e.delivery.tag,
                        "type": e.task.type[:100] if e.task is not None else "",
                        "since": round(self._server_time(e.started, at - now), 3),
                    }
                    for e in running[:RUNNING_SHOWN]
                ],
            }
        )


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _exit_now(code: int) -> None:
    without_waiting(logging.shutdown)
    settle()
    os._exit(code)
