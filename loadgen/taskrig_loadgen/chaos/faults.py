"""The faults of `loadgen chaos`: each breaks one thing, holds, mends it, and times the recovery.

Recovery of a killed or frozen worker: from the fault until nothing that it held is in flight
under its name. Of Redis and of the proxy: from the mending until a task is settled again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from taskrig.keys import Keys
from taskrig_loadgen.chaos.fault_proxy import FaultProxy
from taskrig_loadgen.chaos.fleet import Fleet
from taskrig_loadgen.chaos.own_server import RedisServer
from taskrig_loadgen.connection import REDIS_ERRORS

RECOVERY_LIMIT_S = 30.0  # a recovery that takes longer is given up on and reported as such
_LOOK_EVERY_S = 0.02
_RESET_EVERY_S, _RESET_SHARE = 0.05, 0.1  # so that a connection lives for half a second on average
_HURT_EVERY_S = 0.1
_HURTING = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
_NOBODY = ("127.0.0.1", "1")  # a closed port: a replica of it keeps its data and refuses writes


@dataclass(slots=True)
class Arena:
    """All that faults may break: one server, one proxy, one fleet."""

    server: RedisServer
    proxy: FaultProxy
    fleet: Fleet
    client: Any  # asyncio Redis, straight to the server
    keys: Keys
    lease_s: float
    rng: random.Random

    async def settled(self) -> int | None:
        """Tasks settled so far; None while Redis does not answer."""
        try:
            values = await self.client.hmget(self.keys.stats, "succeeded", "failed")
        except REDIS_ERRORS:
            return None
        return sum(int(value or 0) for value in values)

    async def held_by(self, pid: int) -> set[bytes]:
        """Tags in flight of the worker with this process id."""
        try:
            about = await self.client.hgetall(self.keys.about)
            tags = await self.client.hkeys(self.keys.inflight)
        except REDIS_ERRORS:
            return set()
        ids = {one for one, text in about.items() if json.loads(text).get("pid") == pid}
        return {tag for tag in tags if tag.partition(b":")[0] in ids}


@dataclass(slots=True)
class Injected:
    """One fault that was injected. Times are seconds."""

    name: str
    at_s: float  # after the start of the run
    target: str = ""
    lasted_s: float = 0.0
    recovery_s: float | None = None  # None: not to be measured, or not within the limit
    gave_up: bool = False
    killed: bool = False  # a worker, which held tasks


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault."""

    name: str
    says: str
    inject: Callable[[Arena, Injected], Awaitable[None]] = field(repr=False)
    is_kill: bool = False
    is_outage: bool = False  # of the whole server


async def _until(condition: Callable[[], Awaitable[bool]], note: Injected, since: float) -> None:
    """Wait for a recovery and write down when it came."""
    while time.monotonic() - since < RECOVERY_LIMIT_S:
        if await condition():
            note.recovery_s = time.monotonic() - since
            return
        await asyncio.sleep(_LOOK_EVERY_S)
    note.gave_up = True


async def _until_tasks_settle(arena: Arena, note: Injected) -> None:
    mended = time.monotonic()
    before = await arena.settled()

    async def one_more() -> bool:
        nonlocal before
        now = await arena.settled()
        if before is None:
            before = now
            return False
        return now is not None and now > before

    await _until(one_more, note, mended)


async def _until_released(arena: Arena, note: Injected, tags: set[bytes], since: float) -> None:
    async def none_left() -> bool:
        try:
            left = await arena.client.hmget(arena.keys.inflight, list(tags)) if tags else []
        except REDIS_ERRORS:
            return False
        return not any(value is not None for value in left)

    await _until(none_left, note, since)


# -- workers


def _victim(arena: Arena, note: Injected) -> int | None:
    """The pid of a worker to hurt, named in the note; None when none runs."""
    pid = arena.fleet.pick(arena.rng)
    note.target = "no worker ran" if pid is None else arena.fleet.name(pid)
    return pid


async def _kill_worker(arena: Arena, note: Injected) -> None:
    pid = _victim(arena, note)
    if pid is None:
        return
    tags = await arena.held_by(pid)
    arena.fleet.kill(pid)
    killed = time.monotonic()
    note.target += f", {len(tags)} in flight"
    note.killed = bool(tags)
    await _until_released(arena, note, tags, killed)


async def _freeze_worker(arena: Arena, note: Injected) -> None:
    pid = _victim(arena, note)
    if pid is None:
        return
    arena.fleet.freeze(pid)
    frozen = time.monotonic()
    tags = await arena.held_by(pid)
    note.target += f", {len(tags)} in flight"
    recovery = asyncio.create_task(_until_released(arena, note, tags, frozen))
    await asyncio.sleep(2 * arena.lease_s)
    arena.fleet.thaw(pid)
    note.lasted_s = time.monotonic() - frozen
    await recovery


async def _drain_worker(arena: Arena, note: Injected) -> None:
    pid = _victim(arena, note)
    if pid is None:
        return
    arena.fleet.terminate(pid)
    began = time.monotonic()

    async def gone() -> bool:
        return arena.fleet.ended(pid)

    await _until(gone, note, began)


async def _hurt_children(arena: Arena, note: Injected) -> None:
    """Processes that handlers have forked get signals at random; their workers none."""
    began, hurt = time.monotonic(), 0
    while time.monotonic() < began + 3.0:
        children = arena.fleet.children()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(arena.rng.choice(children), arena.rng.choice(_HURTING))
                hurt += 1
        await asyncio.sleep(_HURT_EVERY_S)
    note.target = f"{hurt} signals"
    note.lasted_s = time.monotonic() - began
    await _until_tasks_settle(arena, note)


# -- the server


async def _restart_redis(arena: Arena, note: Injected) -> None:
    await asyncio.to_thread(arena.server.stop)
    await _down_for(arena, note, arena.rng.uniform(0.5, 2.5))


async def _kill_redis(arena: Arena, note: Injected) -> None:
    await asyncio.to_thread(arena.server.kill)
    await _down_for(arena, note, arena.rng.uniform(0.2, 1.5))


async def _down_for(arena: Arena, note: Injected, seconds: float) -> None:
    began = time.monotonic()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(arena.server.start)
    note.lasted_s = time.monotonic() - began
    await _until_tasks_settle(arena, note)


async def _stall_redis(arena: Arena, note: Injected) -> None:
    arena.server.pause()
    await asyncio.sleep(3.0)
    arena.server.resume()
    note.lasted_s = 3.0
    await _until_tasks_settle(arena, note)


async def _kill_clients(arena: Arena, note: Injected) -> None:
    await arena.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await _until_tasks_settle(arena, note)


async def _read_only(arena: Arena, note: Injected) -> None:
    await arena.client.execute_command("REPLICAOF", *_NOBODY)
    await asyncio.sleep(2.0)
    await arena.client.execute_command("REPLICAOF", "NO", "ONE")
    note.lasted_s = 2.0
    await _until_tasks_settle(arena, note)


async def _full(arena: Arena, note: Injected) -> None:
    await arena.client.config_set("maxmemory", "1mb")
    await asyncio.sleep(2.0)
    await arena.client.config_set("maxmemory", "0")
    note.lasted_s = 2.0
    await _until_tasks_settle(arena, note)


async def _flush_scripts(arena: Arena, note: Injected) -> None:
    await arena.client.script_flush()
    await _until_tasks_settle(arena, note)


async def _reload(arena: Arena, note: Injected) -> None:
    began = time.monotonic()
    await arena.client.execute_command("DEBUG", "RELOAD")
    note.lasted_s = time.monotonic() - began
    await _until_tasks_settle(arena, note)


# -- the proxy between the workers and the server


async def _cut_wire(arena: Arena, note: Injected) -> None:
    await _wire_for(arena, note, arena.proxy.cut, 1.5)


async def _slow_wire(arena: Arena, note: Injected) -> None:
    await _wire_for(arena, note, lambda: arena.proxy.slow(0.1), 2.0)


async def _silence_wire(arena: Arena, note: Injected) -> None:
    await _wire_for(arena, note, arena.proxy.blackhole, 3.0)


async def _wire_for(
    arena: Arena, note: Injected, break_it: Callable[[], None], seconds: float
) -> None:
    break_it()
    await asyncio.sleep(seconds)
    arena.proxy.mend()
    note.lasted_s = seconds
    await _until_tasks_settle(arena, note)


async def _cut_idle(arena: Arena, note: Injected) -> None:
    """Between two renewals of a lease, its connection is idle for longer than it may be."""
    await arena.client.config_set("timeout", "2")
    arena.proxy.cut_idle(arena.lease_s / 6)
    began = time.monotonic()
    await asyncio.sleep(arena.lease_s)
    await _kill_worker(arena, note)
    await mend(arena)
    note.lasted_s = time.monotonic() - began


async def _reset_wire(arena: Arena, note: Injected) -> None:
    """Every connection is reset at random moments, until a killed worker's tasks are back."""
    began, resets = time.monotonic(), 0

    async def reset_at_random() -> None:
        nonlocal resets
        while True:
            resets += arena.proxy.reset(lambda _: arena.rng.random() < _RESET_SHARE)
            await asyncio.sleep(_RESET_EVERY_S)

    resetting = asyncio.create_task(reset_at_random())
    try:
        await asyncio.sleep(arena.lease_s)
        await _kill_worker(arena, note)
    finally:
        resetting.cancel()
    note.target += f", {resets} resets"
    note.lasted_s = time.monotonic() - began


async def _eat_reply(arena: Arena, note: Injected) -> None:
    eaten = arena.proxy.eaten
    what = arena.rng.choice((b"EVALSHA", b"BLMOVE"))
    arena.proxy.eat_reply(what)
    note.target = f"to {what.decode()}"
    deadline = time.monotonic() + 2.0
    while arena.proxy.eaten == eaten and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_EVERY_S)
    arena.proxy.mend()
    await _until_tasks_settle(arena, note)


KILL = Fault("worker killed", "kill -9 of a worker", _kill_worker, is_kill=True)
OTHERS = (
    Fault("redis restarted", "SIGTERM, away for up to 2.5 s", _restart_redis, is_outage=True),
    Fault("wire cut", "every connection of the workers closed for 1.5 s", _cut_wire),
    Fault("redis killed", "kill -9, away for up to 1.5 s", _kill_redis, is_outage=True),
    Fault("worker frozen", "SIGSTOP for two leases", _freeze_worker),
    Fault("redis stalled", "SIGSTOP for 3 s", _stall_redis, is_outage=True),
    Fault("worker drained", "SIGTERM of a worker", _drain_worker),
    Fault("reply eaten", "a command done, its reply lost", _eat_reply),
    Fault("redis read-only", "a replica of nobody for 2 s", _read_only, is_outage=True),
    Fault("clients killed", "CLIENT KILL of every connection", _kill_clients),
    Fault("redis full", "maxmemory below what is used, for 2 s", _full),
    Fault("scripts flushed", "SCRIPT FLUSH", _flush_scripts),
    Fault("wire silent", "bytes swallowed for 3 s", _silence_wire),
    Fault("redis reloads", "DEBUG RELOAD", _reload),
    Fault("idle connections cut", "timeout 2, a balancer's limit; a worker killed", _cut_idle),
    Fault("connections reset", "RST at random, each twice a second; a worker killed", _reset_wire),
    Fault("children hurt", "signals to children of handlers, for 3 s", _hurt_children),
    Fault("wire slow", "0.1 s more each way for 2 s", _slow_wire),
)


async def inject(fault: Fault, arena: Arena, at_s: float) -> Injected:
    """Inject one fault; never leaves anything broken, whatever happens on the way."""
    note = Injected(fault.name, at_s)
    try:
        await fault.inject(arena, note)
    except REDIS_ERRORS as error:
        note.target = f"{note.target} (not injected: {' '.join(str(error).split())[:80]})".strip()
        await mend(arena)
    return note


async def mend(arena: Arena) -> None:
    """Make everything whole again."""
    arena.proxy.mend()
    if not arena.server.running:
        await asyncio.to_thread(arena.server.start)
    arena.server.resume()
    whole = (
        ("REPLICAOF", "NO", "ONE"),
        ("CONFIG", "SET", "maxmemory", "0"),
        ("CONFIG", "SET", "timeout", "0"),
    )
    for command in whole:
        with contextlib.suppress(*REDIS_ERRORS):
            await arena.client.execute_command(*command)
