"""Whether one set of runs differs from another: the run is the unit, not the task. Pure.

Three answers. *Better* or *worse* needs both: a difference that chance makes once in a hundred
(Mann-Whitney, two-sided), and a ratio of medians outside the noise band. Everything else is *no
difference shown*, which is not the same as no difference.

Sources: H. B. Mann and D. R. Whitney, 1947; exact distribution by their recurrence, normal
approximation with ties (E. L. Lehmann, "Nonparametrics", 1975); B. Efron, 1979 (bootstrap).
"""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

BAND = 0.03  # ratios this close to 1 are noise
LEVEL = 0.01  # of the test
MIN_RUNS = 5  # a side
BOOTSTRAPS = 4000


def mann_whitney_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided probability that two samples of one distribution differ this much.

    Exact without ties for up to 50 values a side; else the normal approximation with
    corrections for ties and continuity.

    Raises:
        ValueError: a side is empty.
    """
    if not a or not b:
        raise ValueError("each side needs a value")
    n, m = len(a), len(b)
    u = sum((x > y) + 0.5 * (x == y) for x in a for y in b)
    ties = [count for count in Counter([*a, *b]).values() if count > 1]
    if not ties and max(n, m) <= 50:
        low = int(min(u, n * m - u))
        share = sum(_ways(n, m, k) for k in range(low + 1)) / math.comb(n + m, n)
        return min(1.0, 2 * share)
    total = n + m
    spread = total + 1 - sum(t**3 - t for t in ties) / (total * (total - 1))
    sigma = math.sqrt(n * m / 12 * spread)
    if sigma == 0:
        return 1.0
    z = max(abs(u - n * m / 2) - 0.5, 0.0) / sigma
    return math.erfc(z / math.sqrt(2))


@cache
def _ways(n: int, m: int, u: int) -> int:
    """Orders of n and m values in which exactly u pairs are the wrong way round."""
    if u < 0:
        return 0
    if n == 0 or m == 0:
        return int(u == 0)
    return _ways(n - 1, m, u - m) + _ways(n, m - 1, u)


def bootstrap_ratio(
    a: Sequence[float], b: Sequence[float], *, seed: int = 1, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of median(b) / median(a), runs drawn again with replacement."""
    rng = random.Random(seed)
    ratios = sorted(
        statistics.median(rng.choices(b, k=len(b))) / statistics.median(rng.choices(a, k=len(a)))
        for _ in range(BOOTSTRAPS)
    )
    tail = (1 - level) / 2
    return ratios[int(tail * BOOTSTRAPS)], ratios[math.ceil((1 - tail) * BOOTSTRAPS) - 1]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two sets of runs say about one figure."""

    figure: str
    a: tuple[float, ...]
    b: tuple[float, ...]
    ratio: float  # median of b over median of a
    low: float
    high: float
    p: float
    answer: str  # better | worse | no difference shown

    @property
    def regression(self) -> bool:
        """Whether b is worse."""
        return self.answer == "worse"


def compare(
    figure: str,
    a: Sequence[float],
    b: Sequence[float],
    *,
    higher_is_better: bool = False,
    band: float = BAND,
) -> Comparison:
    """Compare b with a.

    Raises:
        ValueError: fewer than five runs a side, or a value that is not above 0.
    """
    if min(len(a), len(b)) < MIN_RUNS:
        raise ValueError(f"needs at least {MIN_RUNS} runs a side, got {len(a)} and {len(b)}")
    if min(*a, *b) <= 0:
        raise ValueError(f"{figure}: ratios need values above 0")
    ratio = statistics.median(b) / statistics.median(a)
    low, high = bootstrap_ratio(a, b)
    p = mann_whitney_p(a, b)
    answer = "no difference shown"
    if p < LEVEL and not 1 - band <= ratio <= 1 + band:
        answer = "better" if (ratio > 1) == higher_is_better else "worse"
    return Comparison(figure, tuple(a), tuple(b), ratio, low, high, p, answer)
