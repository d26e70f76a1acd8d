"""A worker of known behaviour, for testing what measures workers.

It speaks the protocol as far as a producer sees it: takes tasks into the in-flight hash,
leaves completion records, has a lease and a description. Its service times are given, and it
can drop or repeat tasks on purpose.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import redis.asyncio

from taskrig.keys import Keys

CLAIM = """
local got = {}
if redis.call('EXISTS', KEYS[3]) == 1 then return got end
for n = 1, tonumber(ARGV[2]) do
  local raw = redis.call('RPOP', KEYS[1])
  if not raw then break end
  redis.call('HSET', KEYS[2], ARGV[1] .. ':' .. (ARGV[3] + n), raw)
  got[#got + 1] = raw
end
return got
"""
SETTLE = """
local now = redis.call('TIME')
local settled = now[1] .. '.' .. string.format('%06d', now[2])
for n = 5, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[n] .. ' ' .. settled) end
redis.call('HINCRBY', KEYS[3], ARGV[3], 1)
return redis.call('HDEL', KEYS[1], ARGV[2])
"""


class FakeWorker:
    """Runs tasks on `slots` slots; `service_s(type)` says how long each takes."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        slots: int = 5,
        service_s: Callable[[str], float] = lambda _: 0.0,
        drop_every: int = 0,
        repeat_every: int = 0,
        fail_every: int = 0,
    ) -> None:
        """`drop_every=1000` forgets each 1,000th task; `repeat_every` runs it twice."""
        self._client = redis.asyncio.Redis.from_url(url, socket_timeout=30)
        self._keys = Keys.of(key)
        self._service_s = service_s
        self._slots = slots
        self._every = {"drop": drop_every, "repeat": repeat_every, "fail": fail_every}
        self._taken = 0
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._offset = 0.0
        self._main: asyncio.Task[None] | None = None
        self.id = "fake"

    async def __aenter__(self) -> FakeWorker:
        self._claim = self._client.register_script(CLAIM)
        self._settle = self._client.register_script(SETTLE)
        seconds, micro = await self._client.time()
        self._offset = seconds + micro / 1e6 - time.perf_counter()
        await self._announce()
        self._main = asyncio.create_task(self._loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        if self._main:
            await self._main
        if self._running:
            await asyncio.wait(self._running)
        await self._client.zrem(self._keys.workers, self.id)
        await self._client.aclose()

    def _now(self) -> float:
        return time.perf_counter() + self._offset

    async def _announce(self) -> None:
        about = {"id": self.id, "host": "test", "pid": 1, "concurrency": self._slots, "running": []}
        await self._client.zadd(self._keys.workers, {self.id: (self._now() + 600) * 1000})
        await self._client.hset(self._keys.about, self.id, json.dumps(about))

    async def _loop(self) -> None:
        while not self._stopping:
            free = self._slots - len(self._running)
            if not free:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                continue
            raws = await self._claim(
                keys=[self._keys.queue, self._keys.inflight, self._keys.paused],
                args=[self.id, min(free, 100), self._taken],
            )
            for raw in raws:
                self._taken += 1
                task = asyncio.create_task(self._run(raw, f"{self.id}:{self._taken}", self._taken))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            if not raws:
                await asyncio.sleep(0.0005)

    def _is(self, what: str, number: int) -> bool:
        return bool(self._every[what]) and number % self._every[what] == 0

    async def _run(self, raw: bytes, tag: str, number: int) -> None:
        task: dict[str, Any] = json.loads(raw)
        if self._is("drop", number):
            await self._client.hdel(self._keys.inflight, tag)
            return
        started = self._now()
        service_s = self._service_s(task["type"])
        if service_s:
            await sleep_exactly(service_s)
        run, _, index = str(task.get("run", "")).partition(":")
        outcome = "failed" if self._is("fail", number) else "succeeded"
        line = f"{index} {outcome} {started:.6f} {self._now():.6f} {self.id} 0 0"
        times = 2 if self._is("repeat", number) else 1
        await self._settle(
            keys=[self._keys.inflight, self._keys.run(run), self._keys.stats],
            args=[self.id, tag, outcome, "-", *[line] * times],
        )


async def sleep_exactly(seconds: float) -> None:
    """Sleep to within some tens of microseconds: an event loop's own timer rounds to 1 ms."""
    deadline = time.perf_counter() + seconds
    await asyncio.sleep(max(seconds - 0.002, 0))
    while time.perf_counter() < deadline:  # noqa: ASYNC110 - the clock sets no event
        await asyncio.sleep(0)
