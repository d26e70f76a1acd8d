"""The last minutes of the queue, in memory, for the page's plots."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

EVERY_S = 2.0
KEPT = 300  # points: ten minutes


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `claimed` only grows; `oldest_s` is the age of the next task."""

    waiting: int
    in_flight: int
    dead: int
    claimed: int
    oldest_s: float


class History:
    """Takes a sample every EVERY_S in a thread of its own; a look that fails leaves a gap."""

    def __init__(self, sample: Callable[[], Sample | None], every_s: float = EVERY_S) -> None:
        self._sample = sample
        self._every_s = every_s
        self._points: deque[tuple[float, Sample]] = deque(maxlen=KEPT)
        self._ended = threading.Event()

    def start(self) -> None:
        """Start sampling."""
        threading.Thread(target=self._run, daemon=True, name="page-history").start()

    def stop(self) -> None:
        """Stop sampling; returns at once."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                sample = self._sample()
            except Exception:  # Redis is away; whoever opens the page is told so there
                continue
            if sample is not None:
                self._points.append((time.time(), sample))

    def as_dict(self) -> dict[str, Any]:
        """Columns for JSON; `per_s` is how many tasks were started a second up to each point."""
        points = list(self._points)
        rates = []
        for (then, before), (now, after) in itertools.pairwise(points):
            rates.append(max(0.0, (after.claimed - before.claimed) / max(0.1, now - then)))
        rates = rates[:1] + rates  # the first point has none before it
        return {
            "at": [round(at, 1) for at, _ in points],
            "waiting": [one.waiting for _, one in points],
            "in_flight": [one.in_flight for _, one in points],
            "dead": [one.dead for _, one in points],
            "oldest_s": [round(one.oldest_s, 1) for _, one in points],
            "per_s": [round(rate, 2) for rate in rates] or [0.0] * len(points),
        }
