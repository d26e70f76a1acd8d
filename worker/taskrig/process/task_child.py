"""What a child process runs: tasks of its worker, one after the other, until the worker hangs up.

Handlers, middleware, resources, context and log lines are as in the worker. SIGTERM stops the task
that runs, as an exception in a plain function and as a cancellation in a coroutine, when the worker
has said so: a signal that somebody sends to all processes of a worker is for the worker to obey.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from types import FrameType
from typing import Any, NoReturn

import msgspec

from taskrig.authoring.context import Process, process, running
from taskrig.authoring.extras import opened
from taskrig.authoring.registry import Registry
from taskrig.engine.batches import judge
from taskrig.engine.dispositions import Failed, Retried, Returned, Succeeded
from taskrig.engine.execution import (
    Batch,
    Execution,
    Pipeline,
    arguments_of,
    call_handler,
    keep_result,
)
from taskrig.engine.policies import Policies
from taskrig.engine.processes import DRAIN, STOP, Assignment, Frames, Report, framed
from taskrig.errors import TaskrigError
from taskrig.process.ending import exit_now
from taskrig.runtime import early, forked
from taskrig.runtime.memory import data_bytes
from taskrig.runtime.tracebacks import trace
from taskrig.task import Delivery

log = logging.getLogger("taskrig")

MOST_BYTES = 2**30  # of a task: the worker has judged it
READ_BYTES = 2**16


class _Worker(Process):
    """The worker as a child knows it: it drains once it has said so."""

    __slots__ = ("_link", "_said")

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        super().__init__()

    @property
    def draining(self) -> bool:
        """While a task runs, the worker sends nothing else."""
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        return self._said or bool(poll.poll(0))

    @draining.setter
    def draining(self, value: bool) -> None:
        self._said = value


class TaskChild:
    """One child. `link` is its end of the socket pair."""

    def __init__(self, link: socket.socket, policies: Policies, registry: Registry) -> None:
        self._link = link
        self._pipeline = Pipeline(policies, registry.middleware)
        self._resources = registry.resources
        self._at_end = registry.at_thread_end
        self._loop = forked.watched(asyncio.new_event_loop)
        self._worker = _Worker(link)
        self._frames = Frames(MOST_BYTES)
        self._execution: Execution | None = None  # the task that runs
        self._work: asyncio.Task[None] | None = None  # where that is a coroutine
        self._stopped = False
        self._closing = asyncio.Event()
        self._broken: BaseException | None = None  # why the resources do not open

    def descriptors(self) -> list[int]:
        """What is kept from processes that handlers fork."""
        return [self._link.fileno()]

    def run(self) -> NoReturn:
        """Run tasks to the end of this process."""
        asyncio.set_event_loop(self._loop)
        process.set(self._worker)
        faulthandler.register(signal.SIGUSR1, all_threads=False)
        self._take_sigterm()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _pass_over)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, early.ENDING)
        forked.begin(self._loop)
        forked.own(self)
        holding = self._open() if self._resources else None
        while received := self._receive():
            messages = list(self._frames.feed(received))
            if STOP in messages:
                exit_now(0)
            for message in messages:
                if message == DRAIN:
                    self._worker.draining = True
                else:
                    self._do(msgspec.msgpack.decode(message, type=Assignment))
        if holding is not None:
            self._closing.set()
            self._loop.run_until_complete(asyncio.wait([holding]))
        if self._at_end is not None:
            self._at_end()
        exit_now(0)

    def _receive(self) -> bytes:
        if not self._resources:
            return self._link.recv(READ_BYTES)
        self._link.setblocking(False)  # what resources do in the background goes on meanwhile
        received = self._loop.run_until_complete(self._loop.sock_recv(self._link, READ_BYTES))
        self._link.setblocking(True)
        return received

    def _open(self) -> asyncio.Task[None]:
        """Open the resources; the task that is returned closes them."""
        is_open = self._loop.create_future()

        async def hold() -> None:
            try:
                async with opened(self._resources, log.error):
                    is_open.set_result(None)
                    await self._closing.wait()
            except TaskrigError as fault:
                self._broken = fault
                is_open.set_result(None)

        holding = self._loop.create_task(hold())
        first = asyncio.wait([holding, is_open], return_when=asyncio.FIRST_COMPLETED)
        self._loop.run_until_complete(first)
        if not is_open.done():
            holding.result()  # raises: somebody has cancelled it
        return holding

    # -- one task --------------------------------------------------------------------------------

    def _do(self, given: Assignment) -> None:
        execution = self._given(given)
        if execution.policy is not None and execution.policy.batch is not None:
            execution.batch = Batch([execution, *map(self._given, given.more)])
        self._limit_memory(execution)
        self._take_sigterm()
        self._execution = execution
        fault = copy_context().run(self._outcome, execution)
        self._execution = None
        if forked.child:
            forked.leave(fault)
        self._report(execution, fault)

    def _given(self, given: Assignment) -> Execution:
        delivery = Delivery(given.tag, given.raw, given.deliveries, given.attempts)
        delivery.requeued_at = given.requeued_at
        execution = Execution(delivery, deadline=given.deadline, started=time.monotonic())
        self._pipeline.decode(execution)
        assert execution.task is not None
        execution.policy = self._pipeline.policies.find(execution.task.type)
        return execution

    def _outcome(self, execution: Execution) -> BaseException | None:
        """Run the handler; what it raised."""
        try:
            running.set(execution)
            if self._broken is not None:
                raise self._broken.with_traceback(None)  # else it grows with each task
            self._call(execution)
        except BaseException as fault:
            return fault
        return None

    def _call(self, execution: Execution) -> None:
        policy, arguments = execution.policy, arguments_of(execution)
        assert policy is not None
        handler = policy.handler
        if self._pipeline.middleware:
            self._complete(
                call_handler(execution, arguments, self._pipeline.middleware, _in_thread)
            )
        elif handler.is_sync:
            keep_result(execution, handler.function(*arguments))
        else:
            self._complete(_awaited(execution, handler.function, arguments))

    def _complete(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._work = self._loop.create_task(coroutine)
        try:
            self._loop.run_until_complete(self._work)
        finally:
            self._work = None

    def _report(self, execution: Execution, fault: BaseException | None) -> None:
        if fault is not None and self._stopped:
            self._send(Report("stopped", trace=trace(fault)))
        else:
            if execution.batch is not None:
                judge(execution, fault, self._pipeline)
            elif fault is None:
                self._pipeline.succeed(execution)
            else:
                self._pipeline.dispose(execution, fault)
            for one in execution.each if isinstance(fault, MemoryError) else ():
                one.fail("memory", "MemoryError: its process got no more memory")
            reports = [_report_of(one) for one in execution.each]
            self._send(Report("batch", each=reports) if execution.batch else reports[0])
        if self._stopped:
            exit_now(0)

    def _send(self, report: Report) -> None:
        self._link.sendall(framed(msgspec.msgpack.encode(report)))

    def _limit_memory(self, execution: Execution) -> None:
        """Let the system refuse a sudden allocation, before the worker would see it."""
        policy = execution.policy
        most = policy.options.memory if policy is not None else None
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = hard if most is None or not (data := data_bytes()) else data + most
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        if soft != wanted:
            resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))

    # -- stopping --------------------------------------------------------------------------------

    def _take_sigterm(self) -> None:
        signal.signal(signal.SIGTERM, self._stop)  # again: a handler may have set its own

    def _stop(self, *_: object) -> None:
        if not forked.child and not _is_told_to_stop(self._link):
            return
        execution = self._execution
        if execution is None:
            exit_now(0)
        self._stopped = True
        at = execution.deadline
        execution.stop_reason = (
            "timeout" if at is not None and time.monotonic() >= at else "released"
        )
        if self._work is None:
            raise SystemExit(f"stopped: {execution.stop_reason}")
        self._loop.call_soon_threadsafe(self._work.cancel)


def _is_told_to_stop(link: socket.socket) -> bool:
    """Whether the worker's word has come; also where there is no worker any more."""
    try:
        came = link.recv(READ_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not came or came.endswith(framed(STOP))


def _pass_over(number: int, frame: FrameType | None) -> None:
    """A signal that is for the worker to obey; in a process that a handler forks it is as ever."""
    if not forked.child:
        return
    if number == signal.SIGINT:
        signal.default_int_handler(number, frame)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


async def _awaited(
    execution: Execution, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    keep_result(execution, await function(*arguments))


async def _in_thread(
    execution: Execution, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Middleware runs in this process's event loop; a plain function may start one of its own."""
    keep_result(execution, await asyncio.to_thread(function, *arguments))


def _report_of(execution: Execution) -> Report:
    match execution.disposition:
        case Returned(value=value):
            return Report("succeeded", value=value, outbox=execution.outbox)
        case Succeeded():
            return Report("succeeded")
        case Retried(reason=reason, error=error, after_s=after_s):
            return Report("retried", reason, error, after_s, execution.trace)
        case Failed(reason=reason, error=error):
            return Report("failed", reason, error, 0.0, execution.trace)
    raise AssertionError(execution.disposition)
