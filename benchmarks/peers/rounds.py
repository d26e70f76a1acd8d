"""Rounds: every contender once a round, each round started by another one; medians and spread.

A small machine's speed drifts by a tenth within a minute. Interleaving spreads the drift over all
contenders, so their ratios hold where their absolute figures do not. Pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


def rotated(contenders: Sequence[T], one_round: int) -> list[T]:
    """The contenders in the order of this round, counted from 0."""
    if not contenders:
        return []
    start = one_round % len(contenders)
    return [*contenders[start:], *contenders[:start]]


@dataclass(slots=True)
class Samples:
    """What one contender scored, a number for each round it ended."""

    values: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def median(self) -> float | None:
        """The median; None of none."""
        return statistics.median(self.values) if self.values else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """Least and greatest; None of none."""
        return (min(self.values), max(self.values)) if self.values else None


def interleave(
    names: Sequence[str],
    rounds: int,
    measure: Callable[[str], float],
    *,
    told: Callable[[str, int, float], None] = lambda name, one_round, value: None,
) -> dict[str, Samples]:
    """Measure each name once a round, `rounds` times; a failure is kept, and the rest goes on."""
    found: dict[str, Samples] = {name: Samples() for name in names}
    for one_round in range(rounds):
        for name in rotated(names, one_round):
            try:
                value = measure(name)
            except MeasureFailed as failed:
                found[name].failures.append(str(failed))
                continue
            found[name].values.append(value)
            told(name, one_round, value)
    return found


class MeasureFailed(Exception):
    """This contender could not be measured in this round; the message says why."""
