"""What to send and how long to follow it: the input of a run. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, repeat

from taskrig_loadgen.load.mix import Mix
from taskrig_loadgen.load.pacer import Arrivals, Profile

DRAIN_TIMEOUT_S = 30.0  # without any progress, before a run gives up on what is left
SEND_GRACE_S = 1.0  # past the schedule's end, before unsent tasks are given up


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A mix and when to push it: at once (no profile), or on a schedule."""

    mix: Mix
    list: str = ""  # push to this list of the queue; empty: to its key
    repeat: int = 1  # how often the mix is pushed, without a profile
    profile: Profile | None = None
    arrivals: Arrivals = field(default_factory=Arrivals)
    seed: int = 0
    shuffle: bool = False  # the order inside each cycle of the mix, by the seed
    warmup_s: float = 0.0  # tasks intended before this are left out of the figures
    drain_timeout_s: float = DRAIN_TIMEOUT_S
    data: tuple[tuple[bytes, ...], ...] = ()  # ready JSON per type; empty: {} for all
    order: tuple[int, ...] = ()  # the type of each task, where each is given (a recording)

    @property
    def total(self) -> float:
        """Tasks that will be pushed (with a Poisson schedule: on average)."""
        return self.profile.total if self.profile else self.mix.total * self.repeat

    @property
    def bodies(self) -> tuple[tuple[bytes, ...], ...]:
        """For each type of the mix, its `data` in turn."""
        return self.data or tuple((b"{}",) for _ in self.mix.types)

    def kinds(self) -> Iterator[int]:
        """Which type each task is, in the order sent."""
        if self.profile or self.shuffle:
            endless = self.mix.endless(shuffle_seed=self.seed if self.shuffle else None)
            return endless if self.profile else islice(endless, int(self.total))
        return chain.from_iterable(self.mix.once() for _ in repeat(None, self.repeat))

    def due(self) -> Iterator[float]:
        """When each task is due, in seconds after the start; nothing without a profile."""
        return self.arrivals.schedule(self.profile, self.seed) if self.profile else iter(())

    def offered_by(self, offset_s: float) -> float:
        """Tasks due within this number of seconds after the start."""
        if self.profile:
            return self.profile.due_by(offset_s)
        return self.total if offset_s > 0 else 0.0

    def data_bytes(self) -> Iterator[float]:
        """The mean size of each type's `data`, in bytes."""
        return (sum(map(len, pool)) / len(pool) for pool in self.bodies)


def sized_data(size: int) -> bytes:
    """A JSON object of exactly `size` bytes (at least 11: `{"pad": ""}`)."""
    empty = len(json.dumps({"pad": ""}))
    return json.dumps({"pad": "x" * max(0, size - empty)}).encode()
