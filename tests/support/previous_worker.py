"""A worker of the previous version, as far as Redis sees it: its scripts, unchanged, in a loop.

tests/fixtures/previous holds those scripts (format 1, before delayed tasks and cancelling). When
the scripts change in a way that matters to a neighbour, put the ones before the change there.
"""

from __future__ import annotations

import threading
from pathlib import Path

import redis

from taskrig.keys import Keys

SCRIPTS = Path(__file__).parents[1] / "fixtures" / "previous"
LIMITS = ("right", 2**20, 2**18, 3, 10_000, 1_000, 2**27)


class PreviousWorker:
    """Claims up to `slots` tasks a turn and settles them in the next; `ran` counts them."""

    def __init__(self, url: str, queue: str, lease_s: float, slots: int = 5) -> None:
        self.id = "previous1"
        self.ran = 0
        self.reclaimed = 0
        self._redis = redis.Redis.from_url(url)
        self._keys = Keys.of(queue)
        self._lease_ms = round(lease_s * 1000)
        self._slots = slots
        self._next = 1
        self._hands: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._scripts = {
            name: self._redis.register_script((SCRIPTS / f"{name}.lua").read_text())
            for name in ("exchange", "reclaim", "leave")
        }

    def start(self) -> None:
        """Begin to take tasks."""
        self._thread.start()

    def crash(self) -> None:
        """Stop at once, with whatever it has in its hands."""
        self._ended.set()
        self._thread.join(10)

    def drain(self) -> None:
        """Settle what it holds, and sign off."""
        self.crash()
        self._exchange(0)
        k = self._keys
        self._scripts["leave"](keys=[k.workers, k.about, k.control, k.alone], args=[self.id])

    def _loop(self) -> None:
        turns = 0
        while not self._ended.wait(0.005):
            self._exchange(self._slots)
            turns += 1
            if turns % 50 == 0:
                self._scan()

    def _exchange(self, want: int) -> None:
        k = self._keys
        keys = [
            *(k.queue, k.inflight, k.meta, k.workers, k.control, k.arrivals, k.redeliver),
            *(k.dead, k.dead_index, k.stats, k.paused, k.alone),
        ]
        done, self._hands = self._hands, []
        args = [
            *(self.id, self._lease_ms, want, self._next, 0, *LIMITS, k.run("")),
            *("1", len(done), *done),
        ]
        reply = self._scripts["exchange"](keys=keys, args=args)
        self._hands = [f"{self.id}:{self._next + i}" for i in range(len(reply[7]))]
        self._next += len(self._hands)
        self.ran += len(self._hands)

    def _scan(self) -> None:
        k = self._keys
        keys = [k.inflight, k.meta, k.workers, k.redeliver, k.dead, k.stats, k.reclaiming]
        cursor = b"0"
        while True:
            args = [self.id, cursor, 100, 3, 11_000, 500, self._next, *self._hands]
            state, cursor, moved, *_ = self._scripts["reclaim"](keys=keys, args=args)
            self.reclaimed += moved
            if state or cursor == b"0":
                return
