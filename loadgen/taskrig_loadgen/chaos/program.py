"""Load under faults, and the proof afterwards that nothing was lost.

A server, a proxy and workers of its own: nobody else's data is touched. Kills and other faults
take turns on a fixed clock; the kinds follow one another in a fixed order; the rest is the seed's.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskrig.config.sections import Config
from taskrig.keys import Keys
from taskrig_loadgen.chaos import faults
from taskrig_loadgen.chaos.fault_proxy import FaultProxy
from taskrig_loadgen.chaos.faults import Arena, Fault, Injected
from taskrig_loadgen.chaos.fleet import Fleet, FleetPlan
from taskrig_loadgen.chaos.own_server import RedisServer
from taskrig_loadgen.connection import clear_errors, open_redis
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.queueview import further_lists
from taskrig_loadgen.result.model import Result
from taskrig_loadgen.run.experiment import Experiment, InterruptedEarly

START_WITHIN_S = 20.0  # all workers are alive
FIRST_AT_S = 2.0  # the load is steady
GAP_S = 3.5  # from one fault to the next; one may still be recovering
QUIET_S = 3.0  # before the end, so that the last recovery is under load

FINAL = ("succeeded", "failed", "invalid", "dead")


@dataclass(slots=True)
class ChaosReport:
    """What a chaos run did and what came of it."""

    result: Result
    injected: list[Injected]
    accepted: int
    found: int  # by the conservation check on the server's own totals
    totals: dict[str, int]
    unexpected: list[str] = field(default_factory=list)  # workers that ended by themselves
    workers_started: int = 0
    lease_s: float = 0.0
    interrupted: bool = False  # what was sent until then is accounted for, and may not have ended

    @property
    def exit_code(self) -> int:
        """130 for half a run, else 0 where the promise was kept."""
        return 130 if self.interrupted else 0 if self.holds else 1

    @property
    def lost(self) -> int:
        """Accepted tasks that are nowhere."""
        return self.result.accounting.lost

    @property
    def left(self) -> int:
        """Accepted tasks that have not ended."""
        return self.result.accounting.left + self.result.accounting.unknown

    @property
    def holds(self) -> bool:
        """Whether the promise was kept: nothing lost, left or failed, the books agree."""
        books = self.result.accounting
        return (
            self.lost == 0
            and (self.left == 0 or self.interrupted)
            and books.failed == books.dead == 0  # no handler fails, so it would be poison
            and self.accepted == self.found
            and not self.unexpected
            and not any(one.gave_up for one in self.injected)
        )

    def recovery(self, name: str) -> tuple[int, float, float] | None:
        """(how many, median, worst) seconds of the recoveries of one kind; None without any."""
        times = [i.recovery_s for i in self.injected if i.name == name and i.recovery_s is not None]
        return (len(times), statistics.median(times), max(times)) if times else None

    def kills_in_time(self) -> tuple[int, int]:
        """(how many killed workers' tasks came back within two leases, how many kills)."""
        kills = [one for one in self.injected if one.killed]
        in_time = [one for one in kills if (one.recovery_s or 1e9) <= 2 * self.lease_s]
        return len(in_time), len(kills)


def schedule(duration_s: float) -> list[tuple[float, Fault]]:
    """(seconds after the start, fault): kills and the other kinds in turn, the same every time."""
    planned: list[tuple[float, Fault]] = []
    at_s, turn = FIRST_AT_S, 0
    while at_s < duration_s - QUIET_S:
        other = faults.OTHERS[(turn // 2) % len(faults.OTHERS)]
        planned.append((at_s, other if turn % 2 else faults.KILL))
        at_s, turn = at_s + GAP_S, turn + 1
    return planned


class Chaos:
    """One run: build the arena, load it, break it, account."""

    def __init__(
        self,
        config: Config,
        workload: Workload,
        *,
        workers: int,
        concurrent: int,
        lease_s: float,
        folder: Path,
    ) -> None:
        """`folder` gets the server's data and the logs. `config` gives the queue's key only."""
        self._server = RedisServer(folder / "redis")
        self._proxy = FaultProxy("127.0.0.1", self._server.port)
        self.config = config.model_copy(
            update={"redis": config.redis.model_copy(update={"url": self._server.url})}
        )
        self._workload = workload
        self._rng = random.Random(workload.seed)
        self._folder = folder
        self._shape = (workers, concurrent, lease_s)
        self.experiment = Experiment(self.config, workload, kind="chaos")
        self._interrupted = False

    def interrupt(self) -> None:
        """End soon; while the load runs, its experiment is to be interrupted instead."""
        self._interrupted = True

    async def run(
        self, conduct: Callable[[Experiment], Awaitable[Result]], say: Callable[[str], None]
    ) -> ChaosReport:
        """Run it all.

        Args:
            conduct: runs the experiment and shows it.
            say: told each fault in one line.

        Raises:
            TaskrigError: no server, or workers that do not run, or interrupted before the load.
        """
        await asyncio.to_thread(self._server.start)
        try:
            fleet = self._build_fleet()
            fleet.start()
            try:
                return await self._load_and_break(fleet, conduct, say)
            finally:
                await asyncio.to_thread(fleet.stop)
        finally:
            self._proxy.close()
            self._server.close()

    def _build_fleet(self) -> Fleet:
        workers, concurrent, lease_s = self._shape
        self._proxy.start()
        url = f"redis://127.0.0.1:{self._proxy.port}/0"
        plan = FleetPlan(workers, concurrent, lease_s, url, self.config.queue.key)
        return Fleet(plan, self._folder)

    async def _load_and_break(
        self,
        fleet: Fleet,
        conduct: Callable[[Experiment], Awaitable[Result]],
        say: Callable[[str], None],
    ) -> ChaosReport:
        client = open_redis(self.config, timeout_s=10)
        arena = Arena(
            self._server,
            self._proxy,
            fleet,
            client,
            Keys.of(self.config.queue.key),
            self._shape[2],
            self._rng,
        )
        ended = asyncio.Event()
        supervising = asyncio.create_task(fleet.supervise())
        await self._until_alive(client, arena.keys, supervising)
        if self._interrupted:
            raise InterruptedEarly("interrupted before the first push: nothing was sent")
        breaking = asyncio.create_task(self._break(arena, ended, say))
        try:
            result = await conduct(self.experiment)
        finally:
            ended.set()
            injected = await breaking
            await faults.mend(arena)
        if supervising.done():
            supervising.result()
        await asyncio.to_thread(fleet.stop)
        await supervising
        accepted, found, totals = await self._conservation(client, arena.keys, result)
        await client.aclose()
        return ChaosReport(
            result,
            injected,
            accepted,
            found,
            totals,
            fleet.unexpected,
            fleet.started,
            self._shape[2],
            interrupted=self._interrupted or result.interrupted,
        )

    async def _until_alive(self, client: Any, keys: Keys, supervising: asyncio.Task[None]) -> None:
        """Wait until every worker has a lease, or the fleet is broken."""
        deadline = time.monotonic() + START_WITHIN_S
        while not (supervising.done() or self._interrupted) and time.monotonic() < deadline:
            with clear_errors(self.config):
                if await client.zcard(keys.workers) >= self._shape[0]:
                    return
            await asyncio.sleep(0.05)
        if supervising.done():
            supervising.result()

    async def _break(
        self, arena: Arena, ended: asyncio.Event, say: Callable[[str], None]
    ) -> list[Injected]:
        assert self._workload.profile is not None
        began = time.monotonic()
        running: list[tuple[asyncio.Task[Injected], bool]] = []
        for at_s, fault in schedule(self._workload.profile.length_s):
            try:
                async with asyncio.timeout(max(0.0, began + at_s - time.monotonic())):
                    await ended.wait()
                break
            except TimeoutError:
                pass
            # Kills may fall into another fault; two faults of the server would undo each other.
            if not fault.is_kill:
                await asyncio.gather(*(task for task, kill in running if not kill))
            at_s = time.monotonic() - began
            say(f"{at_s:6.1f} s  {fault.name}: {fault.says}")
            task = asyncio.create_task(faults.inject(fault, arena, at_s))
            running.append((task, fault.is_kill))
        return [await task for task, _ in running]

    async def _conservation(
        self, client: Any, keys: Keys, result: Result
    ) -> tuple[int, int, dict[str, int]]:
        """Accepted by the sender's book, found by the server's totals and lists."""
        with clear_errors(self.config):
            pipe = client.pipeline(transaction=True)
            pipe.hgetall(keys.stats)
            further = await further_lists(client, keys)
            for key in (keys.queue, keys.arrivals, keys.redeliver, *further):
                pipe.llen(key)
            pipe.hlen(keys.inflight)
            pipe.zcard(keys.delayed)
            stats, *places = await pipe.execute()
        totals = {name.decode(): int(value) for name, value in stats.items()}
        found = sum(totals.get(name, 0) for name in FINAL) + sum(places)
        return result.accounting.sent, found, totals
