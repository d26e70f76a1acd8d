"""Whether one set of runs differs from another: the run is the unit, not the task. Pure.

Outcomes come first: where more tasks fail, how fast the others are is not judged. There are three
answers. *Better* or *worse* needs both: a difference that chance makes once in a hundred
(Mann-Whitney, two-sided), and a ratio of medians outside the noise band. Everything else is *no
difference shown*, which is not the same as no difference.

Sources: H. B. Mann and D. R. Whitney, 1947; exact distribution by counting rank sums over all
splits, with ties too, normal approximation for large sides (E. L. Lehmann, "Nonparametrics",
1975); B. Efron, 1979 (bootstrap).
"""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

BAND = 0.03  # ratios this close to 1 are noise
LEVEL = 0.01  # of the test
MIN_RUNS = 5  # a side
MOST_EXACT = 31  # values a side; more take seconds
BOOTSTRAPS = 4000
OUTCOMES = "failed.share"
NOT_JUDGED = "not judged: more tasks fail"


def mann_whitney_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided probability that two samples of one distribution differ this much.

    Exact for up to 31 values a side, with ties too: of all ways to split the values into such
    sides, the share whose rank sum lies as far from its middle. Else the normal approximation with
    corrections for ties and continuity.

    Raises:
        ValueError: a side is empty.
    """
    if not a or not b:
        raise ValueError("each side needs a value")
    if max(len(a), len(b)) > MOST_EXACT:
        return approximate_p(a, b)
    ties = Counter([*a, *b])
    ranks = _pairs_won(a, b) + len(a) * (len(a) + 1) / 2
    return _exact_p(len(a), ranks, [ties[value] for value in sorted(ties)])


def _pairs_won(a: Sequence[float], b: Sequence[float]) -> float:
    return sum((x > y) + 0.5 * (x == y) for x in a for y in b)


def approximate_p(a: Sequence[float], b: Sequence[float]) -> float:
    """The same by the normal approximation, for large sides."""
    n, m = len(a), len(b)
    total = n + m
    ties = sum(t**3 - t for t in Counter([*a, *b]).values())
    sigma = math.sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
    if sigma == 0:
        return 1.0
    z = max(abs(_pairs_won(a, b) - n * m / 2) - 0.5, 0.0) / sigma
    return math.erfc(z / math.sqrt(2))


def _exact_p(n: int, rank_sum: float, ties: Sequence[int]) -> float:
    """Share of the splits whose first n have a rank sum as far from the middle as `rank_sum`.

    Args:
        ties: how often each of the rising values is there; equal ones share their mean rank.
    """
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter() for _ in range(n))]
    below = 0
    for count in ties:
        twice = 2 * below + count + 1  # the mean rank, doubled: a whole number
        below += count
        for taken in range(n, 0, -1):
            for some in range(1, min(count, taken) + 1):
                choices = math.comb(count, some)
                for total, number in ways[taken - some].items():
                    ways[taken][total + some * twice] += number * choices
    middle = n * (below + 1)
    far = abs(round(2 * rank_sum) - middle)
    extreme = sum(number for total, number in ways[n].items() if abs(total - middle) >= far)
    return extreme / math.comb(below, n)


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
    ratio: float | None  # of the medians, b over a; None where a value is 0, or not judged
    low: float | None
    high: float | None
    p: float | None
    answer: str  # better | worse | no difference shown | not judged: more tasks fail

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
    """Compare b with a. If any value is 0, there is no ratio, and so no noise band either.

    Raises:
        ValueError: fewer than five runs a side, or a value below 0.
    """
    if min(len(a), len(b)) < MIN_RUNS:
        raise ValueError(f"needs at least {MIN_RUNS} runs a side, got {len(a)} and {len(b)}")
    if min(*a, *b) < 0:
        raise ValueError(f"{figure}: cannot compare values below 0")
    ratio = low = high = None
    if min(*a, *b) > 0:
        ratio = statistics.median(b) / statistics.median(a)
        low, high = bootstrap_ratio(a, b)
    p = mann_whitney_p(a, b)
    answer = "no difference shown"
    if p < LEVEL and (ratio is None or not 1 - band <= ratio <= 1 + band):
        rose = statistics.mean(b) > statistics.mean(a) if ratio is None else ratio > 1
        answer = "better" if rose == higher_is_better else "worse"
    return Comparison(figure, tuple(a), tuple(b), ratio, low, high, p, answer)


def compare_outcomes(a: Sequence[float], b: Sequence[float]) -> Comparison:
    """Compare the shares of tasks that did not succeed; there is no noise band."""
    return compare(OUTCOMES, a, b, band=0.0)


def not_judged(figure: str) -> Comparison:
    """In the place of a comparison of what matters no more: more tasks fail."""
    return Comparison(figure, (), (), None, None, None, None, NOT_JUDGED)
