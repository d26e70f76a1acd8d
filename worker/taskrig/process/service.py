"""What the event loop runs from its start to its end: reach Redis, open resources, consume."""

from __future__ import annotations

import asyncio
import logging
import secrets

from taskrig import __version__
from taskrig.authoring.context import Process, process
from taskrig.authoring.extras import opened
from taskrig.authoring.registry import Registry
from taskrig.broker import Address, LeaseConnection, check_start
from taskrig.config.sections import Config
from taskrig.engine.engine import Engine
from taskrig.engine.inbox import Drain, Fail, Release
from taskrig.engine.lease import Lease
from taskrig.metrics import Metrics
from taskrig.process.systemd import Systemd
from taskrig.process.task_processes import Launcher
from taskrig.process.vitals import Vitals
from taskrig.runtime.outlet import dropped

log = logging.getLogger("taskrig")

CHECK_ENDS_S = 0.5  # how long the check of a start may take to end once it is cancelled


class Service:
    """One worker's service of one queue. `engine` in its vitals is None until Redis was reached."""

    def __init__(self, config: Config, registry: Registry, launcher: Launcher | None) -> None:
        self.config = config
        self.registry = registry
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
        self._launcher = launcher
        self._process = Process()
        self._systemd = Systemd()
        self._stopping = asyncio.Event()
        self._why = ""  # it stops
        self._opening: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until drained.

        Raises:
            TaskrigError: it could not start, or had to end.
        """
        if not await self._checked():
            log.info("stopped before the start: %s", self._why)
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
            log.info("stopped before the start: %s", self._why)

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
        await asyncio.wait([checking], timeout=CHECK_ENDS_S)
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
            *(self._launcher, self.drain),
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

    def say_totals(self, code: int) -> None:
        """The last line of the log."""
        totals, invalid = self.metrics.totals(), sum(self.metrics.invalid.values())
        dry = self.metrics.dry_runs()
        log.info(
            "stopped: %d done%s, %d failed, %d invalid, %d released, exit %d",
            *(totals["succeeded"], f" ({dry} of them dry runs)" if dry else ""),
            *(totals["failed"], invalid, totals["released"], code),
        )

    def drain(self, why: str) -> None:
        """Claim nothing more, and end once what runs has ended."""
        self._why = why
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

    def fail(self, fault: BaseException) -> None:
        """End: a part of the worker broke."""
        if self.vitals.engine is not None:
            self.vitals.engine.inbox.order(Fail(fault))

    def release(self) -> None:
        """Give back now what runs."""
        if self.vitals.engine is not None:
            self.vitals.engine.inbox.order(Release())
