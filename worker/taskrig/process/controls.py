"""What other threads may do to the worker: tell it to end, and end it when it does not."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

from taskrig.broker import LeaseConnection
from taskrig.engine.task_dump import standing
from taskrig.errors import BrokerUnavailable
from taskrig.process.ending import exit_now
from taskrig.process.service import Service
from taskrig.runtime.logs import without_waiting

log = logging.getLogger("taskrig")

THREAD_ENDS_S = 0.3  # how long a thread may take from its result to its end
GIVE_BACK_S = 2.0  # how long Redis may take to take back what a stuck worker holds
TURN_S = 0.5  # an event loop that makes no turn for so long is stuck


class Controls:
    """Every method is safe to call from any thread."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._loop = loop

    def drain(self, why: str) -> None:
        """Claim nothing more, and end once what runs has ended."""
        self._in_the_loop(self._service.drain, why)

    def release(self) -> None:
        """Give back now what runs."""
        self._in_the_loop(self._service.release)

    def fail(self, fault: BaseException) -> None:
        """End: a part of the worker broke."""
        self._in_the_loop(self._service.fail, fault)

    def _in_the_loop(self, function: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            pass  # the loop has ended

    def stuck_handlers(self) -> int:
        """How many still run; one that has delivered its result may take a moment to end."""
        engine = self._service.vitals.engine
        patience_s = time.monotonic() + THREAD_ENDS_S
        while engine is not None and (stuck := engine.unstoppable()):
            if time.monotonic() > patience_s:
                return stuck
            time.sleep(0.01)
        return 0

    def is_stuck(self) -> bool:
        """Whether the event loop makes no turn."""
        turned = threading.Event()
        self._in_the_loop(turned.set)
        return not turned.wait(TURN_S)

    def give_up(self, why: str = "", code: int = 0) -> None:
        """The worker does not end: give back what can be, and leave without it."""
        why = why or self._why_late()
        engine = self._service.vitals.engine
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
        service, faults = self._service, ["Redis does not answer"]

        def release() -> None:
            try:
                LeaseConnection(service.config, service.id, service.address).release(tags[::-1])
                faults[:] = [""]
            except BrokerUnavailable as error:
                faults[:] = [str(error)]

        thread = threading.Thread(target=release, daemon=True, name="give-back")
        thread.start()
        thread.join(GIVE_BACK_S)
        return faults[0]

    def _why_late(self) -> str:
        """What keeps the worker from ending."""
        engine = self._service.vitals.engine
        if self.is_stuck():
            return "a handler blocks the event loop"
        if engine is not None and engine.consumer.outage.since is not None:
            return "Redis is away"
        return "the end takes too long"

    def tell_what_runs(self) -> None:
        """Into the log; also while a handler blocks the event loop."""
        running = self._service.vitals.running
        log.info("SIGUSR1: %d tasks run", len(running))
        for line in standing(running, threading.main_thread().ident):
            log.info("runs: %s", line)
        engine = self._service.vitals.engine
        if engine is not None and engine.processes is not None:
            engine.processes.tell()
