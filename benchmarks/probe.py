"""The bare probe: one script round trip a turn in our order of commands, and nothing else.

No leases watched, no metrics, no logs, no errors handled, no dead letters, no timeouts, no
shutdown. It claims, books in flight, decodes, runs each task as an asyncio task and settles: the
least that a worker on this protocol can do in Python, and so the ceiling that ours is held to.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from redis.asyncio import Connection

from benchmarks.peers.clock import CLOCK

SCRIPT = b"""#!lua flags=allow-oom
local call = redis.call
local time = call('TIME')
call('ZADD', KEYS[3], time[1] * 1000 + 15000, ARGV[1])
if #ARGV > 3 then call('HDEL', KEYS[2], unpack(ARGV, 4)) end
local want, first = tonumber(ARGV[2]), tonumber(ARGV[3])
if want == 0 then return {} end
local items = call('LRANGE', KEYS[1], -want, -1)
local n = #items
if n == 0 then return {} end
local book, out = {}, {}
for i = 1, n do
  local raw = items[n + 1 - i]
  out[i] = raw
  book[2 * i - 1] = ARGV[1] .. ':' .. (first + i - 1)
  book[2 * i] = raw
end
call('HSET', KEYS[2], unpack(book))
call('LTRIM', KEYS[1], 0, -n - 1)
return out
"""

Handler = Callable[[Any], Coroutine[Any, Any, None]]


async def noop(data: Any) -> None:
    """The same handler as the worker's."""
    CLOCK.tick()


class Probe:
    """Drains one list until a number of tasks is done."""

    def __init__(self, port: int, queue: str, concurrency: int, tasks: int) -> None:
        self._connection: Any = Connection(host="127.0.0.1", port=port, socket_timeout=None)
        self._keys = (queue, f"{{{queue}}}:inflight", f"{{{queue}}}:workers")
        self._concurrency = concurrency
        self._left = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._settled: list[str] = []
        self._woken = asyncio.Event()
        self._next = 1
        self._handlers: dict[str, Handler] = {"noop": noop}

    async def run(self) -> None:
        """Exchange, start, wait for an end, again."""
        await self._connection.connect()
        sha = await self._call("SCRIPT", "LOAD", SCRIPT)
        decode = msgspec.json.Decoder().decode
        loop = asyncio.get_running_loop()
        while self._left > 0 or self._settled:
            want = min(self._concurrency - len(self._running), self._left)
            settled, self._settled = self._settled, []
            self._woken.clear()
            items = await self._call(
                "EVALSHA", sha, 3, *self._keys, "probe", want, self._next, *settled
            )
            self._left -= len(settled)
            for raw in items:
                task = decode(raw)
                tag = f"probe:{self._next}"
                self._next += 1
                work = loop.create_task(self._handlers[task["type"]](task["data"]), name=tag)
                self._running.add(work)
                work.add_done_callback(self._ended)
            if self._running:
                await self._woken.wait()

    def _ended(self, work: asyncio.Task[None]) -> None:
        self._running.discard(work)
        self._settled.append(work.get_name())
        self._woken.set()

    async def _call(self, *command: Any) -> Any:
        await self._connection.send_packed_command(
            self._connection.pack_command(*command), check_health=False
        )
        return await self._connection.read_response(disable_decoding=True)


def main() -> None:
    """`python -m benchmarks.probe PORT QUEUE CONCURRENCY TASKS`"""
    port, queue, concurrency, tasks = sys.argv[1:]
    import uvloop

    uvloop.run(Probe(int(port), queue, int(concurrency), int(tasks)).run())
    os._exit(0)


if __name__ == "__main__":
    main()
