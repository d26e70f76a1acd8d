"""Workers reduced to what they ask of Redis: the broker's calls, one at a time, by hand."""

from __future__ import annotations

from typing import Any

import redis

from taskrig.broker import Address, Broker, Exchanged, Slice
from taskrig.config.load import load_config
from taskrig.keys import Keys
from taskrig.task import Delivery, Outcome, Settlement
from tests.support.waiting import until

LEASE_S = 0.5
FINAL = ("succeeded", "failed", "invalid", "dead")


class Hand:
    """One worker id with a broker; numbers its tags as the consumer does."""

    def __init__(self, url: str, worker_id: str, **settings: Any) -> None:
        overrides = {"redis.url": url, "worker.lease_s": f"{LEASE_S}s", **settings}
        config = load_config(None, env={}, overrides=overrides)
        address = Address(config.redis, config.queue.key, worker_id)
        self.id, self.config, self.address = worker_id, config, address
        self.broker = Broker(config, worker_id, address, positions=True)
        self.run, self.commands = self.broker.run, self.broker.commands
        self.next = 1
        self.held: list[Delivery] = []

    async def exchange(
        self,
        want: int = 0,
        *settled: Settlement,
        hands: int | None = None,
        one_by_one: bool = False,
    ) -> Exchanged:
        """One exchange; what it claimed is in `held`."""
        ended = {settlement.tag for settlement in settled}
        self.held = [one for one in self.held if one.tag not in ended]
        in_hand = len(self.held) if hands is None else hands
        reply = await self.broker.exchange(list(settled), want, self.next, in_hand, one_by_one)
        self.next += len(reply.deliveries)
        self.held += reply.deliveries
        return reply

    async def claim(self, want: int) -> list[Delivery]:
        """Claim up to `want`."""
        return (await self.exchange(want)).deliveries

    async def settle(self, outcome: Outcome, *deliveries: Delivery, **more: str) -> Exchanged:
        """Settle these with one outcome."""
        return await self.exchange(0, *(Settlement(d.tag, outcome, **more) for d in deliveries))

    async def reclaim(self, *arguments: Any, **more: Any) -> Slice:
        """One slice of a scan of in flight; the arguments of the command after the worker's id."""
        return await self.run(self.commands.reclaim(self.id, *arguments, **more))

    async def scan(self, *, own_only: bool = False, below: int | None = None) -> int:
        """A full scan of in flight as the upkeep does it; how many moved or died."""
        cursor, moved = 0, 0
        known = [one.tag for one in self.held]
        while True:
            part = await self.reclaim(
                cursor, 100, 0 if own_only else 200, self.next if below is None else below, known
            )
            assert part.state == "", part.state
            moved += part.moved
            cursor = part.cursor
            if cursor == 0:
                return moved


class Queue:
    """The queue's keys as a test reads them."""

    def __init__(self, url: str, client: redis.Redis) -> None:
        self.url = url
        self.redis = client
        self.keys = Keys.of("async_tasks")
        self.accepted = 0
        self.hands: list[Hand] = []

    def hand(self, worker_id: str = "w1", **settings: Any) -> Hand:
        """A worker's hand at this queue."""
        self.hands.append(Hand(self.url, worker_id, **settings))
        return self.hands[-1]

    def push(self, *items: bytes) -> None:
        """LPUSH."""
        self.redis.lpush(self.keys.queue, *items)
        self.accepted += len(items)

    def waiting(self) -> list[bytes]:
        """Items of K, the next one first."""
        items: Any = self.redis.lrange(self.keys.queue, 0, -1)
        return list(reversed(items))

    def redeliver(self) -> list[bytes]:
        """Entries to be delivered again, the next one first."""
        entries: Any = self.redis.lrange(self.keys.redeliver, 0, -1)
        return list(reversed(entries))

    def in_flight(self) -> dict[bytes, bytes]:
        """Tag to raw item."""
        found: Any = self.redis.hgetall(self.keys.inflight)
        return dict(found)

    def total(self, name: str) -> int:
        """One running total."""
        value: Any = self.redis.hget(self.keys.stats, name)
        return int(value or 0)

    def dead(self) -> list[dict[bytes, bytes]]:
        """Fields of the dead letters, oldest first."""
        found: Any = self.redis.xrange(self.keys.dead)
        return [fields for _, fields in found]

    def lapse(self, worker_id: str) -> None:
        """Wait until a worker's lease has run out."""

        def over() -> bool:
            seconds, micros = self.redis.time()  # type: ignore[misc]
            deadline: Any = self.redis.zscore(self.keys.workers, worker_id)
            return deadline is None or float(deadline) < seconds * 1000 + micros // 1000

        until(over, 5, f"the lease of {worker_id} runs out")

    def assert_conserved(self) -> None:
        """Accepted = ended + waiting + in flight."""
        ended = sum(self.total(name) for name in FINAL)
        waits = sum(
            int(self.redis.llen(key))  # type: ignore[arg-type]
            for key in (self.keys.queue, self.keys.arrivals, self.keys.redeliver)
        )
        assert ended + waits + len(self.in_flight()) == self.accepted + self.total("followups")

    async def close(self) -> None:
        """Close every hand."""
        for hand in self.hands:
            await hand.broker.close()
