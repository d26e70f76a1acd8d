"""A start barrier in Redis: several generators begin at the same instant of the server's clock."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

from taskrig.errors import TaskrigError, UsageError
from taskrig.keys import Keys
from taskrig_loadgen.run.clock import Offset

LEAD_S = 1.0  # between the last one's arrival and the start
LOOK_EVERY_S = 0.02
EXPIRES_S = 3600
HERE = b"here"
# One comes: the last one sets the start. One too many is sent away, with 0.
COME = """
local here = redis.call('RPUSH', KEYS[1], 'here')
redis.call('EXPIRE', KEYS[1], ARGV[2])
if here > tonumber(ARGV[1]) then
  redis.call('LREM', KEYS[1], -1, 'here')
  return 0
end
if here == tonumber(ARGV[1]) then
  local time = redis.call('TIME')
  redis.call('RPUSH', KEYS[1], string.format('%.6f', time[1] + time[2] / 1e6 + ARGV[3]))
end
return here
"""
# One that gives up makes room for another, unless the start is set: then it is answered.
LEAVE = """
for _, one in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if one ~= 'here' then return one end
end
redis.call('LREM', KEYS[1], 1, 'here')
return false
"""


class BarrierTimeout(TaskrigError):
    """Not all generators came; the message says how many did."""


def parse_barrier(text: str) -> tuple[str, int]:
    """Read `NAME:N`: a name that all share, and how many they are.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"([\w.-]{1,64}):([0-9]{1,4})", text)
    if not match or int(match[2]) < 1:
        raise UsageError(f"--barrier {text!r}: write NAME:N, such as nightly:3 for 3 generators")
    return match[1], int(match[2])


async def wait_at(
    client: Any, keys: Keys, name: str, count: int, *, timeout_s: float, stopped: Callable[[], bool]
) -> float:
    """Wait until `count` generators are here; the common start in Unix seconds of Redis TIME.

    Whoever comes last sets the start. A name serves once: a run that comes later is refused.
    Once `stopped()` is true there is nothing to wait for: the answer is 0, the past.

    Raises:
        UsageError: more came than were announced, or the name has been used.
        BarrierTimeout: too few came in time.
        RedisError, OSError: Redis does not answer.
    """
    key = keys.run(f"barrier-{name}")
    if await client.eval(COME, 1, key, count, EXPIRES_S, LEAD_S) == 0:
        raise UsageError(f"--barrier {name}:{count}: {count} generators have met there already")
    deadline = time.monotonic() + timeout_s
    while True:
        met = await client.lrange(key, 0, -1)
        start = next((float(one) for one in met if one != HERE), None)
        if start is not None:
            return start
        if stopped() or time.monotonic() > deadline:
            start = await client.eval(LEAVE, 1, key)
            if stopped():
                return 0.0
            if start is not None:  # the last one came at this moment
                return float(start)
            raise BarrierTimeout(
                f"--barrier {name}:{count}: only {len(met)} came in {timeout_s:g} s"
            )
        await asyncio.sleep(LOOK_EVERY_S)


async def sleep_until(start: float, offset: Offset) -> None:
    """Sleep until the server's clock shows `start` (Unix seconds)."""
    await asyncio.sleep(max(0.0, start - offset.server_time(time.perf_counter())))
