"""Pushes tasks on a schedule that nothing slows down; notes how late each batch was."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from redis.exceptions import ResponseError

from taskrig_loadgen.connection import REDIS_ERRORS
from taskrig_loadgen.result.ledger import Ledger
from taskrig_loadgen.result.record import SendReport
from taskrig_loadgen.run.clock import Offset

BATCH = 1000  # tasks in one LPUSH
BATCH_BYTES = 256 * 1024  # and bytes: a longer command holds Redis for over 10 ms
COMMANDS = 8  # LPUSHes in one pipelined write
TICK_S = 0.001  # shortest nap: below this the event loop's own timer is coarser
RETRY_S = 0.1  # between tries while Redis is away


class TaskWriter:
    """Writes the JSON of task `n` of a type: data ready made, run mark and time put in."""

    def __init__(
        self,
        run_id: str,
        types: Sequence[str],
        data: Sequence[Sequence[bytes]],
        order: Sequence[int] = (),
    ) -> None:
        """`data[t]` holds ready JSON objects for type number `t`, used in turn.

        With an `order`, task n is of type `order[n]` and every pool is the same one of all tasks:
        each body is then written once, not once a type.
        """
        mark = b'"run":"' + run_id.encode() + b":"
        heads = [b'{"type":' + json.dumps(name).encode() + b',"data":' for name in types]
        if order:
            ready = [heads[t] + body + b"," + mark for t, body in zip(order, data[0], strict=True)]
            self._heads = [ready] * len(heads)
            return
        self._heads = [
            [head + body + b"," + mark for body in pool]
            for head, pool in zip(heads, data, strict=True)
        ]

    def write(self, kind: int, number: int, enqueued_at: float) -> bytes:
        """The list item for task `number` of type number `kind`."""
        pool = self._heads[kind]
        head = pool[number % len(pool)] if len(pool) > 1 else pool[0]
        return b'%s%d","enqueued_at":%.6f}' % (head, number, enqueued_at)


class Sender:
    """Sends tasks of one run to one queue key and books them in a ledger."""

    def __init__(
        self,
        client: Any,
        key: str,
        ledger: Ledger,
        writer: TaskWriter,
        offset: Offset,
        *,
        push_right: bool = False,
        patience_s: float = 30.0,
    ) -> None:
        """`patience_s`: how long an outage of Redis is waited out, past the schedule's end."""
        self._client = client
        self._key = key
        self._ledger = ledger
        self._writer = writer
        self._offset = offset
        self._command = b"RPUSH" if push_right else b"LPUSH"
        self._stop = asyncio.Event()
        self._patience_s = patience_s
        self._ends = 0.0  # the schedule, on the perf_counter
        self._lost_patience = False
        self.report = SendReport()
        self.started: float = 0.0  # server time of offset 0 of the schedule

    def stop(self) -> None:
        """Offer nothing more; a write that is open is still waited for."""
        self._stop.set()

    async def send_all(self, kinds: Iterator[int]) -> None:
        """Push every task at once, as fast as Redis takes them.

        The intended time of each is when its batch was about to be written.
        """
        self.started = self._offset.server_time(time.perf_counter())
        while batch := list(islice(kinds, BATCH * COMMANDS)):
            if self._stop.is_set():
                self.report.gave_up = self._lost_patience
                return
            await self._push(batch, None)

    async def send_on_schedule(
        self, kinds: Iterator[int], due: Iterator[float], *, until_s: float
    ) -> None:
        """Push each task when it is due, in seconds after now; all that is due in one write.

        The intended times come from `due` alone: a server that stalls makes them late, never
        fewer. What is still unsent `until_s` seconds after now is given up.
        """
        origin = time.perf_counter()
        self._ends = origin + until_s
        self.started = self._offset.server_time(origin)
        most = BATCH * COMMANDS
        following = next(due, None)
        while following is not None and not self._stop.is_set():
            now = time.perf_counter() - origin
            if now > until_s:
                self.report.gave_up = True
                return
            if following > now:
                await self._until_due(following - now)
                continue
            moments: list[float] = []
            while following is not None and following <= now and len(moments) < most:
                moments.append(following + self.started)
                following = next(due, None)
            await self._push([next(kinds) for _ in moments], moments)
        self.report.gave_up = self._lost_patience and following is not None

    async def _until_due(self, seconds: float) -> None:
        """Sleep, at least a tick; a long sleep ends when we are stopped."""
        if seconds < 0.25:
            await asyncio.sleep(max(seconds, TICK_S))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _until_redis_answers(self) -> None:
        """Wait out an outage, so that it costs one unconfirmed batch and not one a tick.

        One that lasts too long ends the sending.
        """
        deadline = max(self._ends, time.perf_counter()) + self._patience_s
        while not self._stop.is_set():
            try:
                await self._client.type(self._key)  # PING may be refused
                return
            except REDIS_ERRORS:
                if time.perf_counter() > deadline:
                    self._lost_patience = True
                    self.stop()
                await self._until_due(RETRY_S)

    async def _push(self, kinds: list[int], intended: list[float] | None) -> None:
        """Write one batch in one pipelined write and wait for the answers."""
        sent = self._offset.server_time(time.perf_counter())
        moments = intended if intended is not None else [sent] * len(kinds)
        numbers = self._ledger.add(kinds, moments, sent)
        write = self._writer.write
        items = [
            write(kind, number, at)
            for kind, number, at in zip(kinds, numbers, moments, strict=True)
        ]
        slices = list(_slices(items))
        try:
            answers = await self._write(items, slices)
        except REDIS_ERRORS as error:
            # No answer: the batch may be in the queue. It stays booked, unconfirmed.
            self.report.note(error)
            await self._until_redis_answers()
            return
        acked = self._offset.server_time(time.perf_counter())
        self._settle(numbers, slices, answers, acked)

    async def _write(self, items: list[bytes], slices: list[slice]) -> list[Any]:
        if len(slices) == 1:
            try:
                return [await self._client.execute_command(self._command, self._key, *items)]
            except ResponseError as error:
                return [error]
        pipe = self._client.pipeline(transaction=False)
        for part in slices:
            pipe.execute_command(self._command, self._key, *items[part])
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers

    def _settle(
        self, numbers: range, slices: list[slice], answers: list[Any], acked: float
    ) -> None:
        for part, answer in zip(slices, answers, strict=True):
            if isinstance(answer, ResponseError):
                self.report.note(answer)
                self.report.refused += len(numbers[part])
                self._ledger.refuse(numbers[part])
            elif isinstance(answer, Exception):
                self.report.note(answer)
            else:
                self._ledger.confirm(numbers[part], acked)


def _slices(items: list[bytes]) -> Iterator[slice]:
    """Cut into LPUSHes of at most BATCH tasks and about BATCH_BYTES bytes."""
    total = sum(map(len, items))
    if len(items) <= BATCH and total <= BATCH_BYTES:
        yield slice(0, len(items))
        return
    start, size = 0, 0
    for number, item in enumerate(items):
        if number > start and (number - start >= BATCH or size + len(item) > BATCH_BYTES):
            yield slice(start, number)
            start, size = number, 0
        size += len(item)
    yield slice(start, len(items))
