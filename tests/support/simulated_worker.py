"""A worker whose slots are arithmetic: exact service times, whatever the machine is doing.

It takes tasks off the queue like any worker and leaves completion records, but starts and ends
are computed: a task starts when it was due or when a slot is free, whichever is later, and takes
exactly its service time; its record is there when it has ended. So what loadgen reports can be
held against theory to the last digit.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import math
import time
from collections.abc import Callable

import redis.asyncio

from taskrig.keys import Keys

BATCH = 500


class SimulatedWorker:
    """`slots` slots; `service_s()` gives the next task's service time in seconds."""

    def __init__(self, url: str, key: str, *, slots: int, service_s: Callable[[], float]) -> None:
        self._client = redis.asyncio.Redis.from_url(url, socket_timeout=30)
        self._keys = Keys.of(key)
        self._service_s = service_s
        self._free = [0.0] * slots
        self._running: list[tuple[float, str, str]] = []  # a heap: end, run, record
        self._stopping = False
        self._main: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SimulatedWorker:
        seconds, _ = await self._client.time()
        about = {"id": "sim", "concurrency": len(self._free)}
        await self._client.zadd(self._keys.workers, {"sim": (seconds + 3600) * 1000})
        await self._client.hset(self._keys.about, "sim", json.dumps(about))
        self._main = asyncio.create_task(self._loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        if self._main:
            await self._main
        await self._client.aclose()

    async def _loop(self) -> None:
        while not self._stopping:
            raws = await self._client.rpop(self._keys.queue, BATCH)
            for raw in raws or ():
                task = json.loads(raw)
                run, _, index = task["run"].partition(":")
                begun = max(task["enqueued_at"], self._free[0])
                ended = begun + self._service_s()
                heapq.heapreplace(self._free, ended)
                line = f"{index} succeeded {begun:.6f} {ended:.6f} sim 0 0 {ended:.6f}"
                heapq.heappush(self._running, (ended, run, line))
            await self._report(time.time())  # the server shares this machine's clock
            if not raws:
                await asyncio.sleep(0.005)
        await self._report(math.inf)

    async def _report(self, now: float) -> None:
        records: dict[str, list[str]] = {}
        while self._running and self._running[0][0] <= now:
            _, run, line = heapq.heappop(self._running)
            records.setdefault(run, []).append(line)
        for run, lines in records.items():
            await self._client.rpush(self._keys.run(run), *lines)
