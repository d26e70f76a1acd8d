"""When the next task is due: profiles of rate over time and ways to arrive. Pure, absolute.

A profile is a rate that is constant or linear in each of its segments, so the number due by a
time has an exact inverse. Every way to arrive is that inverse at other points: uniform at
0, 1, 2, ...; Poisson at the partial sums of unit exponentials (time rescaling: gives a Poisson
process of exactly this rate, ramps included); bursts at multiples of their size.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from taskrig.errors import UsageError
from taskrig_loadgen.quantity import duration_s, rate_or_zero

EXAMPLE = "30s@50, 1m@50..500, 5s@2000"


@dataclass(frozen=True, slots=True)
class Segment:
    """`length_s` seconds in which the rate goes evenly from `first` to `last` tasks a second."""

    length_s: float
    first: float
    last: float

    @property
    def total(self) -> float:
        """Tasks due in this segment."""
        return (self.first + self.last) / 2 * self.length_s

    def when(self, count: float) -> float:
        """Seconds into the segment at which `count` tasks are due (0 <= count <= total)."""
        slope = (self.last - self.first) / self.length_s
        if slope == 0:
            return count / self.first if self.first else self.length_s
        # The root of slope/2 t^2 + first t = count, in the form that does not cancel.
        root = math.sqrt(max(self.first**2 + 2 * slope * count, 0.0))
        return 2 * count / (self.first + root) if count else 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """Segments, one after another."""

    segments: tuple[Segment, ...]

    @property
    def length_s(self) -> float:
        """Seconds from the start to the end of the last segment."""
        return sum(segment.length_s for segment in self.segments)

    @property
    def total(self) -> float:
        """Tasks due in all."""
        return sum(segment.total for segment in self.segments)

    @property
    def text(self) -> str:
        """The profile as one would type it."""
        return ", ".join(
            f"{s.length_s:g}s@{s.first:g}" + (f"..{s.last:g}" if s.last != s.first else "")
            for s in self.segments
        )

    def scaled(self, share: float) -> Profile:
        """The same course at `share` of the rates."""
        return Profile(
            tuple(Segment(s.length_s, s.first * share, s.last * share) for s in self.segments)
        )

    def rate_at(self, offset_s: float) -> float:
        """Tasks a second asked for at `offset_s` seconds after the start; 0 when it is over."""
        for segment in self.segments:
            if offset_s < segment.length_s:
                share = offset_s / segment.length_s
                return segment.first + (segment.last - segment.first) * share
            offset_s -= segment.length_s
        return 0.0

    def due_by(self, offset_s: float) -> float:
        """Tasks due up to `offset_s` seconds after the start."""
        due = 0.0
        for segment in self.segments:
            part = min(offset_s, segment.length_s)
            if part <= 0:
                break
            slope = (segment.last - segment.first) / segment.length_s
            due += segment.first * part + slope / 2 * part * part
            offset_s -= segment.length_s
        return due

    def times(self, points: Iterator[float]) -> Iterator[float]:
        """For each of the rising `points` (a count of tasks): when this number of tasks is due."""
        start, before = 0.0, 0.0
        segments = iter(self.segments)
        segment = next(segments)
        for point in points:
            while point - before >= segment.total:
                start, before = start + segment.length_s, before + segment.total
                following = next(segments, None)
                if following is None:
                    return
                segment = following
            yield start + segment.when(point - before)


def apportioned(count: int, shares: Sequence[float]) -> list[int]:
    """A number of tasks cut into shares (of 1): whole numbers with exactly that sum."""
    exact = [count * share for share in shares]
    counts = [int(part) for part in exact]
    by_rest = sorted(range(len(shares)), key=lambda n: counts[n] - exact[n])
    for number in by_rest[: count - sum(counts)]:
        counts[number] += 1
    return counts


def constant(rate: float, length_s: float) -> Profile:
    """`rate` tasks a second for `length_s` seconds."""
    return Profile((Segment(length_s, rate, rate),))


def parse_profile(text: str) -> Profile:
    """Read `30s@50, 1m@50..500, 5s@2000`: durations, each at a rate or along a ramp.

    Raises:
        UsageError: the text is no profile, or asks for no task at all.
    """
    segments = []
    for number, part in enumerate(text.split(","), start=1):
        where = f"--profile, segment {number}"
        match = re.fullmatch(r"\s*([^@]+)@([^@]+?)\s*", part)
        if not match:
            raise UsageError(f"{where}: {part.strip()!r} is not a segment; write it like {EXAMPLE}")
        first, _, last = match[2].partition("..")
        ends = [rate_or_zero(rate, where) for rate in ((first, last) if last else (first, first))]
        segments.append(Segment(duration_s(match[1].strip(), where), ends[0], ends[1]))
    profile = Profile(tuple(segments))
    if profile.total < 1:
        raise UsageError(
            f"--profile {text!r}: asks for less than one task; write it like {EXAMPLE}"
        )
    return profile


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How tasks arrive around the profile's rate: `uniform`, `poisson` or `burst`."""

    kind: str = "uniform"
    burst: int = 1

    @property
    def text(self) -> str:
        """As one would type it."""
        return f"burst:{self.burst}" if self.kind == "burst" else self.kind

    def schedule(self, profile: Profile, seed: int) -> Iterator[float]:
        """Seconds after the start at which each task is due, rising; the same for a same seed.

        As many as the profile holds, to the nearest task, or with Poisson on average; a last
        burst is as large as what is left.
        """
        if self.kind == "poisson":
            return profile.times(_unit_poisson(random.Random(seed)))
        return islice(profile.times(_steps(self.burst)), round(profile.total))


def _steps(burst: int) -> Iterator[float]:
    number = 0
    while True:
        for _ in range(burst):
            yield float(number)
        number += burst


def _unit_poisson(rng: random.Random) -> Iterator[float]:
    point = 0.0
    while True:
        point += rng.expovariate(1.0)
        yield point


def parse_arrivals(text: str) -> Arrivals:
    """Read `uniform`, `poisson` or `burst:N`.

    Raises:
        UsageError: it is none of these.
    """
    if text in ("uniform", "poisson"):
        return Arrivals(text)
    match = re.fullmatch(r"burst:([0-9]{1,9})", text)
    if match and int(match[1]) > 0:
        return Arrivals("burst", int(match[1]))
    raise UsageError(f"--arrivals {text!r}: write uniform, poisson or burst:N (N tasks at once)")
