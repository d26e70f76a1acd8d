"""A pool of child processes for handlers that compute, hang or crash: one task at a time each.

A child is made by the launcher, which also tells that it has ended, and how. It is given a task as
its JSON bytes over a socket pair and answers with what became of it. It is killed at a timeout,
over its memory, and when the worker gives its task back; whatever ends it ends this task alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from taskrig.engine.dispositions import RELEASED, SUCCEEDED, Failed, Retried, Returned
from taskrig.engine.events import log
from taskrig.engine.execution import Execution
from taskrig.engine.inbox import Fail, Inbox
from taskrig.errors import Interfered
from taskrig.metrics import Metrics
from taskrig.runtime import forked
from taskrig.runtime.memory import resident_bytes
from taskrig.runtime.tracebacks import Trace

GRACE_S = 1.0  # from SIGTERM to SIGKILL, at a timeout
RELEASE_GRACE_S = 0.5  # when its task is given back: it may start elsewhere a second later
LOOK_S = 0.1  # how often the memory of what runs is looked at
RESOURCES_S = 15.0  # how long one that has no task may take to end
CLOSE_S = 10.0  # how long children may take to close their resources when the worker ends
AGAIN_S = 0.5  # until another try where the system could not make a process
BEGUN, NOT_MADE = -1, -2  # in the place of a child's wait status
DRAIN, STOP = b"", b"stop"  # to a child: the worker drains; end, as a SIGTERM that comes now says
MAX_REPORT_BYTES = 64 << 20  # of a large batch, with an error and a traceback for each task


class Assignment(msgspec.Struct, array_like=True):
    """A task on its way to a child. `raw` as it was pushed; the rest as in Delivery, Execution."""

    tag: str
    raw: bytes
    deliveries: int
    attempts: int
    requeued_at: float
    deadline: float | None
    more: list[Assignment] = []  # the others of its batch


class Report(msgspec.Struct, array_like=True):
    """What became of a task in a child. `outcome`: succeeded, failed, retried, or stopped where the
    child was told to end and stood at `trace`; or batch, with a report of each task. `value`: what
    the handler returned, as JSON, where that is wanted; `outbox`:
    the tasks that it enqueued."""

    outcome: str
    reason: str = ""
    error: str = ""
    after_s: float = 0.0
    trace: Trace | None = None
    each: list[Report] = []
    value: bytes | None = None
    outbox: list[tuple[str, bytes]] | None = None


class Frames:
    """Cuts what a socket brings into messages, each after its length in four bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The messages that are complete now; raises ValueError for one that cannot be."""
        self._bytes += received
        while len(self._bytes) >= 4:
            size = int.from_bytes(self._bytes[:4])
            if size > self._most:
                raise ValueError(f"a message of {size} bytes")
            if len(self._bytes) < size + 4:
                return
            yield bytes(self._bytes[4 : size + 4])
            del self._bytes[: size + 4]


def framed(message: bytes) -> bytes:
    """The message after its length."""
    return len(message).to_bytes(4) + message


class Launcher(Protocol):
    """Makes children and looks after them, in a process of its own."""

    def launch(self) -> tuple[int, socket.socket]:
        """Ask for a child: its number, and the worker's end of its socket pair."""

    def signal(self, number: int, what: int) -> None:
        """Send a signal to a child, and SIGKILL to its process group too."""

    def news(self) -> Sequence[tuple[int, int, int]]:
        """(child's number, its pid, its wait status), in news of a child that has just BEGUN that
        in the status's place. NOT_MADE comes with an errno for a pid. Raises EOFError."""

    def fileno(self) -> int:
        """Readable when there is news."""

    def restart(self) -> None:
        """Begin again, after it has ended; raises Interfered where it must not, or cannot."""

    def close(self) -> None:
        """End all that is left of the children."""


class TaskProcess:
    """One child. `ends` says why the worker ends it, "" where it does not."""

    def __init__(self, number: int, link: socket.socket) -> None:
        self.number = number
        self.link = link
        self.pid = 0  # not known yet
        self.execution: Execution | None = None
        self.done: Callable[[Execution], None] | None = None
        self.ends = ""
        self.tasks = 0  # that it was given, ever
        self.memory = 0  # bytes, when it was looked at last
        self.stood: Trace | None = None  # where its task was when it was stopped
        self._loop = asyncio.get_running_loop()
        self._frames = Frames(MAX_REPORT_BYTES)
        self._unsent = b""
        link.setblocking(False)
        forked.own(self)

    def descriptors(self) -> list[int]:
        """What is kept from processes that handlers fork."""
        return [self.link.fileno()]

    @property
    def reachable(self) -> bool:
        """Whether its socket is open on this side."""
        return self.link.fileno() >= 0

    def look(self) -> None:
        """Ask the system for its memory; the last figure stays where it has ended."""
        if self.pid:
            self.memory = resident_bytes(self.pid) or self.memory

    def send(self, message: bytes) -> bool:
        """Send it, now or as soon as there is room; False where it cannot be reached any more."""
        if not self.reachable:
            return False
        self._unsent += framed(message)
        return self._send_on()

    def _send_on(self) -> bool:
        try:
            self._unsent = self._unsent[self.link.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.hang_up()
            return False
        if self._unsent:
            self._loop.add_writer(self.link.fileno(), self._send_on)
        else:
            self._loop.remove_writer(self.link.fileno())
        return True

    def reports(self) -> Iterator[Report]:
        """What has come from it; at the end of all that its socket is closed."""
        try:
            while self.reachable and (received := self.link.recv(65536)):
                for message in self._frames.feed(received):
                    yield msgspec.msgpack.decode(message, type=Report)
        except BlockingIOError:
            return
        except OSError:
            pass
        except (ValueError, RecursionError) as fault:  # what a handler wrote to a socket of ours
            log.error("the process %d of a task wrote what it should not: %s", self.pid, fault)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the socket: a child that has no task ends then."""
        if self.reachable:
            self._loop.remove_reader(self.link.fileno())
            self._loop.remove_writer(self.link.fileno())
            self.link.close()


class MemoryWatch:
    """Looks at the memory of children that run a task, while any does."""

    def __init__(
        self, children: Mapping[int, TaskProcess], stop: Callable[[TaskProcess, str], None]
    ) -> None:
        self._children = children
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._looking = False

    def begin(self) -> None:
        """A task has begun."""
        if not self._looking:
            self._looking = True
            self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._looking = False
        for child in list(self._children.values()):
            if child.execution is None:
                continue
            self._looking = True
            most = _most_memory(child.execution)
            child.look()
            if most and child.memory > most:
                self._stop(child, "memory")
        if self._looking:
            self._loop.call_later(LOOK_S, self._look)


class Slots:
    """Which tasks may have a child now, and which wait for one."""

    def __init__(self, most: int) -> None:
        self.busy = 0
        self._most = most
        self._waiting: deque[Execution] = deque()  # they hold slots of the worker

    def keep_waiting(self, execution: Execution) -> bool:
        """Whether no child is free for it; then `next` gives it when one is."""
        if self.busy < self._most:
            return False
        self._waiting.append(execution)
        return True

    def next(self) -> Execution | None:
        """A task that waits and can start now."""
        while self._waiting and self.busy < self._most:
            execution = self._waiting.popleft()
            if execution.disposition is None:
                return execution
        return None


class Processes:
    """The children of one worker, at most `slots` that run a task. To be used in the event loop."""

    def __init__(self, launcher: Launcher, slots: int, inbox: Inbox, metrics: Metrics) -> None:
        self.slots = Slots(slots)
        self.draining = False
        self._launcher = launcher
        self._inbox = inbox
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self.children: dict[int, TaskProcess] = {}
        self._idle: list[TaskProcess] = []
        self._unmade = 0  # tasks whose process could not be made, and is to be tried again
        self._watch = MemoryWatch(self.children, self.stop)
        self._loop.add_reader(launcher.fileno(), self._hear)

    # -- tasks -----------------------------------------------------------------------------------

    def run(self, execution: Execution, done: Callable[[Execution], None]) -> None:
        """Have a child run it; `done` is called when it has its disposition."""
        first, *more = (_assignment(one, execution.deadline) for one in execution.each)
        first.more = more
        message = msgspec.msgpack.encode(first)
        child = self._idle.pop() if self._idle else self._launch()
        while not child.send(message) and child.tasks:  # it has just ended: another one
            child = self._idle.pop() if self._idle else self._launch()
        self.slots.busy += 1
        child.tasks += len(execution.each)
        child.execution, child.done = execution, done
        execution.process = child
        self._watch.begin()
        if not child.reachable:
            self._not_made(child)  # its launcher has just ended, as will be heard

    def stop(self, child: object, why: str) -> None:
        """End a child: "timeout" and "released" politely at first, anything else at once."""
        if not isinstance(child, TaskProcess) or child.ends:
            return
        child.ends = why
        if why not in ("timeout", "released"):
            self._launcher.signal(child.number, signal.SIGKILL)
            return
        child.send(STOP)  # without it a SIGTERM is somebody else's
        self._launcher.signal(child.number, signal.SIGTERM)
        grace_s = GRACE_S if why == "timeout" else RELEASE_GRACE_S
        self._loop.call_later(grace_s, self._launcher.signal, child.number, signal.SIGKILL)

    def drain(self) -> None:
        """Let handlers see that the worker is about to stop."""
        self.draining = True
        for child in self.children.values():
            child.send(DRAIN)

    def tell(self) -> None:
        """Have those that run a task print where they stand; from any thread."""
        for child in list(self.children.values()):
            if child.execution is not None:
                self._launcher.signal(child.number, signal.SIGUSR1)

    async def close(self) -> None:
        """Everything has ended: let the children close their resources, and end."""
        for child in self.children.values():
            child.hang_up()
        for _ in range(int(CLOSE_S * 100)):
            if self.children:
                await asyncio.sleep(0.01)
        self._loop.remove_reader(self._launcher.fileno())
        self._launcher.close()

    # -- children --------------------------------------------------------------------------------

    def _launch(self) -> TaskProcess:
        child = TaskProcess(*self._launcher.launch())
        self.children[child.number] = child
        self._loop.add_reader(child.link.fileno(), self._read, child)
        if self.draining:
            child.send(DRAIN)
        return child

    def _read(self, child: TaskProcess) -> None:
        for report in child.reports():
            self._reported(child, report)
        if not child.reachable:
            if child in self._idle:
                self._idle.remove(child)
            # It has ended, as the launcher will tell, or has closed its socket and lives on.
            self._loop.call_later(
                *(RESOURCES_S if child.execution is None else GRACE_S / 2, self._launcher.signal),
                *(child.number, signal.SIGKILL),
            )

    def _reported(self, child: TaskProcess, report: Report) -> None:
        execution = child.execution
        if execution is None:
            return
        if report.outcome == "stopped":
            child.stood = report.trace
            return
        reports = report.each or [report]
        for one, its_own in zip(execution.each, reports, strict=True):
            _apply(one, its_own)
        memory = any(one.reason == "memory" for one in reports)
        policy = execution.policy
        most = policy.options.max_tasks_per_process if policy is not None else None
        if child.ends or not child.reachable:
            pass  # it is on its way out
        elif memory or (most is not None and child.tasks >= most):
            child.ends = "memory" if memory else "max_tasks"
            child.hang_up()
        else:
            self._idle.append(child)
        self._over(child)

    def _over(self, child: TaskProcess) -> None:
        """The task of a child has its disposition."""
        execution, done = child.execution, child.done
        child.execution = child.done = None
        if execution is None or done is None:
            return
        self.slots.busy -= 1
        execution.process = None
        done(execution)

    def _hear(self) -> None:
        """The launcher has news."""
        try:
            news = self._launcher.news()
        except EOFError:
            self._begin_again()
            return
        for number, pid, status in news:
            child = self.children.get(number)
            if child is None:
                continue
            if status == BEGUN:
                child.pid = pid
            elif status == NOT_MADE:
                if not self._unmade:
                    log.error(
                        "cannot make a process for tasks (%s); trying again", os.strerror(pid)
                    )
                self._not_made(child)
            else:
                self._has_ended(child, status)

    def _begin_again(self) -> None:
        """The launcher has ended, and all children with it."""
        self._loop.remove_reader(self._launcher.fileno())
        for child in list(self.children.values()):
            self._read(child)  # what it said at last
        lost = list(self.children.values())
        self.children.clear()
        self._idle.clear()
        for child in lost:
            child.hang_up()
            if child.pid:  # what it has started is nobody's now
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
        try:
            self._launcher.restart()
        except Interfered as fault:
            self._inbox.order(Fail(fault))
            return
        self._loop.add_reader(self._launcher.fileno(), self._hear)
        for child in lost:
            if child.execution is not None:
                child.execution.stop_reason = child.execution.stop_reason or "released"
                _end_stopped(child.execution)
                self._over(child)

    def _not_made(self, child: TaskProcess) -> None:
        """There is no process for its task: it waits a little."""
        self._unmade += 1
        del self.children[child.number]
        child.hang_up()
        self._loop.call_later(AGAIN_S, self._try_again, child)

    def _try_again(self, unmade: TaskProcess) -> None:
        self._unmade -= 1
        execution, done = unmade.execution, unmade.done
        if execution is None or done is None:
            return
        if execution.stop_reason:
            _end_stopped(execution)
        if execution.disposition is not None:
            self._over(unmade)
            return
        self.slots.busy -= 1
        try:
            self.run(execution, done)
        except Exception as fault:
            self._inbox.order(Fail(fault))

    def _has_ended(self, child: TaskProcess, status: int) -> None:
        self._read(child)  # what it said at last
        child.hang_up()
        del self.children[child.number]
        if child.execution is not None:
            if child.execution.batch is not None:
                child.execution.batch.share_stop(child.execution)
            for one in child.execution.each:
                _judge(child, one, status, self.draining)
        reason = child.ends or ("" if self.draining else "crashed")
        if reason:
            self._metrics.process_ends[reason] += 1
        self._over(child)


def memory_of(processes: Processes) -> tuple[int, int]:
    """(children, bytes of memory of all of them); from any thread."""
    children = list(processes.children.values())
    for child in children:
        child.look()
    return len(children), sum(child.memory for child in children)


def _assignment(execution: Execution, deadline: float | None) -> Assignment:
    delivery = execution.delivery
    return Assignment(
        *(delivery.tag, delivery.raw, delivery.deliveries, delivery.attempts),
        *(delivery.requeued_at, deadline),
    )


def _end_stopped(execution: Execution) -> None:
    """Say of a task, or of each of its batch, that the worker stopped it."""
    if execution.batch is not None:
        execution.batch.share_stop(execution)
    for one in execution.each:
        one.end_stopped()


def _apply(execution: Execution, report: Report) -> None:
    """What the child says of a task."""
    match report.outcome:
        case "succeeded":
            value = report.value
            execution.disposition = SUCCEEDED if value is None else Returned(value)
            execution.outbox = report.outbox
        case "retried":
            execution.disposition = Retried(report.reason, report.error, report.after_s)
        case _:
            execution.disposition = Failed(report.reason, report.error)
    execution.trace = report.trace


def _judge(child: TaskProcess, execution: Execution, status: int, draining: bool) -> None:
    """What became of a task whose process has ended without a word."""
    code = os.waitstatus_to_exitcode(status)
    if execution.stop_reason:
        execution.end_stopped()
    elif child.ends == "memory":
        most = _most_memory(execution)
        execution.fail("memory", f"its process had {_mib(child.memory)} of {_mib(most)}")
    elif -code == signal.SIGTERM and draining:
        execution.disposition = RELEASED  # whoever stops the worker has told all processes
    else:
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        execution.fail("crashed", f"its process ended {how}")
    if execution.disposition is not RELEASED:
        execution.trace = child.stood


def _most_memory(execution: Execution) -> int:
    policy = execution.policy
    return (policy.options.memory or 0) if policy is not None else 0


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
