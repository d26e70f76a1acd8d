"""Gathers tasks into batches for handlers that take lists, and judges each task of a batch.

A batch that gathers uses no slot; one that runs uses one, as the execution of its first task, which
carries the others. Each task stays a delivery of its own: it is settled, retried and counted alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from taskrig.broker import CLAIM_BYTES, CLAIM_ITEMS
from taskrig.engine.capacity import Capacity
from taskrig.engine.dispositions import RELEASED, Dead, Disposition, Held
from taskrig.engine.events import log
from taskrig.engine.execution import Batch, Execution, Pipeline
from taskrig.engine.inbox import Inbox
from taskrig.engine.policies import TaskPolicy
from taskrig.errors import faults_of
from taskrig.keys import aside_name
from taskrig.runtime.tracebacks import Trace

MOST_BATCHES = 2  # of one type in this worker: one runs while the next one gathers
MOST_BYTES = 16 * 2**20  # of one type's tasks in batches


class _Type:
    """What this worker has of one type: `open` gathers; `closed` counts batches that wait for a
    slot or run; `spare` are tasks for which there is no room, each of which keeps a slot."""

    __slots__ = ("bytes", "closed", "count", "linger_s", "most", "name", "open", "spare", "timer")

    def __init__(self, policy: TaskPolicy) -> None:
        self.name = policy.handler.type
        self.most = policy.batch or 1
        self.linger_s = policy.linger_s
        self.open: list[Execution] = []
        self.spare: deque[Execution] = deque()
        self.closed = 0
        self.count = self.bytes = 0  # of the tasks in batches
        self.timer: asyncio.TimerHandle | None = None

    def has_room_for(self, size: int) -> bool:
        """Whether a task of `size` bytes fits; one that is larger than all fits alone."""
        if self.count and self.bytes + size > MOST_BYTES:
            return False
        return bool(self.open) or self.closed < MOST_BATCHES

    @property
    def room(self) -> int:
        """How many tasks fit for certain, as far as a claim can tell."""
        if self.spare or self.bytes + CLAIM_BYTES > MOST_BYTES:
            return 0
        return max(0, (MOST_BATCHES - self.closed) * self.most - len(self.open))

    def take_open(self) -> list[Execution]:
        """The batch that gathers, which gathers no more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        taken, self.open = self.open, []
        return taken

    def book(self, execution: Execution, sign: int = 1) -> None:
        """Count a task, or with -1 no longer."""
        self.count += sign
        self.bytes += sign * len(execution.delivery.raw)


class Batches:
    """The batches of one worker. To be used in the event loop.

    `due` gives those that can begin. It is asked at each turn of the run loop, so that a batch and
    a claim never reach for the same slot.
    """

    def __init__(
        self, pipeline: Pipeline, capacity: Capacity, inbox: Inbox, max_deliveries: int
    ) -> None:
        policies = pipeline.policies
        self._pipeline = pipeline
        self._capacity = capacity
        self._inbox = inbox
        self._max_deliveries = max_deliveries
        self._loop = asyncio.get_running_loop()
        self._types = {p: _Type(p) for p in policies.values() if p.batch is not None}
        self._ready: deque[tuple[_Type, list[Execution]]] = deque()
        # Where any task may be one that needs a slot, no more are claimed than there are slots.
        self._claims_ahead = len(self._types) == len(policies) and max_deliveries > 1

    # -- gathering -------------------------------------------------------------------------------

    def gather(self, execution: Execution) -> bool:
        """Put it into a batch; False when it is to begin at once, as a batch of its own.

        That is a task on its last delivery: if it is poison, it takes no others with it.
        """
        capacity, kind = self._capacity, self._type_of(execution)
        if execution.delivery.deliveries + 1 >= self._max_deliveries:
            execution.batch = Batch([execution])
            kind.book(execution)
            kind.closed += 1
            return False
        tag = execution.delivery.tag
        capacity.batched[tag] = capacity.running.pop(tag)
        if not capacity.claiming:  # the worker drains: nothing is gathered any more
            self._put_by(execution, RELEASED)
        elif kind.spare or not self._added(kind, execution):
            kind.spare.append(execution)
            self._inbox.wake()
        return True

    def _added(self, kind: _Type, execution: Execution) -> bool:
        if not kind.has_room_for(len(execution.delivery.raw)):
            self._close(kind)  # nothing of its size fits: what is there need not wait
            return False
        if not kind.open:
            kind.timer = self._loop.call_later(kind.linger_s, self._close, kind)
        kind.open.append(execution)
        kind.book(execution)
        if len(kind.open) >= kind.most:
            self._close(kind)
        return True

    def _close(self, kind: _Type) -> None:
        """Let the batch that gathers begin as soon as there is a slot."""
        if executions := kind.take_open():
            self._ready.append((kind, executions))
            kind.closed += 1
            self._inbox.wake()

    def hurry(self) -> None:
        """No more tasks will come for now: let what has gathered begin."""
        for kind in self._types.values():
            self._close(kind)

    # -- running ---------------------------------------------------------------------------------

    def due(self) -> Iterator[Execution]:
        """For each batch that can begin now, its first task, which carries the others."""
        capacity, paused = self._capacity, self._pipeline.paused_types
        for kind in self._types.values() if paused else ():
            if kind.name in paused:
                self._give_back(kind, Held(aside_name(kind.name), "front"))
        while self._ready:
            claims = capacity.claims
            on_the_way = claims.open_want + (claims.reserved is not None)
            if len(capacity.running) + len(capacity.overdue) + on_the_way >= capacity.limit:
                return
            _, executions = self._ready.popleft()
            first = executions[0]
            first.batch = Batch(executions)
            tag = first.delivery.tag
            capacity.running[tag] = capacity.batched.pop(tag)
            yield first

    def look_ahead(self) -> None:
        """Say how many tasks may be claimed for which there is no slot."""
        kinds = self._types.values()
        spare = sum(len(kind.spare) for kind in kinds)
        ahead = min(kind.room for kind in kinds) if self._claims_ahead else 0
        self._capacity.ahead = -spare if spare else min(ahead, CLAIM_ITEMS)

    def ended(self, first: Execution) -> None:
        """The batch of `first` has ended, and `first` itself is put by elsewhere."""
        batch, kind = first.batch, self._type_of(first)
        assert batch is not None
        for one in batch.executions:
            kind.book(one, -1)
            if one is not first:
                one.started, one.ended = first.started, first.ended
                self._put_by(one, one.disposition or first.disposition or RELEASED)
        self._freed(kind)
        if first.thread is None:  # else it may still look at them
            first.batch = None  # which refers to it: a cycle would wait for the gc

    def _freed(self, kind: _Type) -> None:
        kind.closed -= 1
        while kind.spare and self._added(kind, kind.spare[0]):
            kind.spare.popleft()

    # -- giving back -----------------------------------------------------------------------------

    def release(self) -> None:
        """The worker drains: give back what has not begun."""
        for kind in self._types.values():
            self._give_back(kind, RELEASED)

    def _give_back(self, kind: _Type, disposition: Disposition) -> None:
        """Give back all of a type that has not begun: each to the front, so the oldest last."""
        closed = [executions for of, executions in self._ready if of is kind]
        self._ready = deque(one for one in self._ready if one[0] is not kind)
        kind.closed -= len(closed)
        gathered = [one for executions in (*closed, kind.take_open()) for one in executions]
        for one in gathered:
            kind.book(one, -1)
        whole = [*gathered, *kind.spare]
        kind.spare.clear()
        for one in reversed(whole):
            self._put_by(one, disposition)

    def cancel(self, tag: str) -> Execution | None:
        """An operator cancels a task that has no slot of its own.

        What has not begun leaves its batch. Returns the execution of the batch that it runs in.
        """
        execution = self._capacity.batched.get(tag)
        if execution is None:
            return None
        kind = self._type_of(execution)
        if execution in kind.spare:
            kind.spare.remove(execution)
        else:
            places = [kind.open, *(executions for _, executions in self._ready)]
            place = next((one for one in places if execution in one), None)
            if place is None:
                running = self._capacity.running.values()
                return next(e for e in running if e.batch and execution in e.batch.executions)
            self._leave(kind, place, execution)
        log.warning("task %s was cancelled before its batch began: an operator asked for it", tag)
        self._put_by(execution, Dead("cancelled", "an operator cancelled it"))
        return None

    def _leave(self, kind: _Type, place: list[Execution], execution: Execution) -> None:
        place.remove(execution)
        kind.book(execution, -1)
        if place is kind.open:
            if not place:
                kind.take_open()  # the next one begins a wait of its own
        elif not place:
            self._ready.remove((kind, place))
            self._freed(kind)

    def _put_by(self, execution: Execution, disposition: Disposition) -> None:
        """It has ended, or is given back."""
        capacity = self._capacity
        execution.disposition = disposition
        del capacity.batched[execution.delivery.tag]
        capacity.counted += disposition.counted
        self._inbox.ended.append(execution)
        self._inbox.wake()

    def _type_of(self, execution: Execution) -> _Type:
        assert execution.policy is not None
        return self._types[execution.policy]


def judge(first: Execution, fault: BaseException | None, pipeline: Pipeline) -> None:
    """What became of each task of a batch whose run has ended with `fault`, or without.

    What a batch returns is the result of none of its tasks.
    """
    batch = first.batch
    assert batch is not None
    batch.share_stop(first)
    first.result = None
    executions = batch.executions
    faults = [fault] * len(executions) if first.stop_reason else faults_of(fault, len(executions))
    traces: dict[int, Trace | None] = {}
    for one, own in zip(executions, faults, strict=True):
        if own is None:
            pipeline.succeed(one)
            continue
        one.trace = traces.get(id(own))  # an error that many share is looked at once
        pipeline.dispose(one, own)
        traces[id(own)] = one.trace
