"""Percentiles and what they need to be believed. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Percentiles a report may show, by the name it shows them under.
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
MIN_BEYOND = 10  # a percentile needs this many samples beyond it to say anything


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest sample with at least `share` of all samples at or below it; nan of none.

    Args:
        ordered: the samples, rising.
        share: 0 to 1 (0.99 for p99).
    """
    if not ordered:
        return math.nan
    rank = math.ceil(share * len(ordered) - 1e-9)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def supported(count: int, share: float) -> bool:
    """Whether `count` samples can tell this percentile: n(1-p) >= 10, of the median too."""
    return count * (1 - share) >= MIN_BEYOND - 1e-9
