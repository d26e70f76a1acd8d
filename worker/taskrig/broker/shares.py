"""How a claim is parted among the lists of a queue by their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Shares:
    """Whole shares of each claim whose sums follow the weights, also when claims are small."""

    def __init__(self, weights: Sequence[int]) -> None:
        """Of a strict order, which has no weights, there are none."""
        self._weights = tuple(weights)
        self._owed = [0.0] * len(self._weights)  # by earlier claims, each less than 1 either way

    def of(self, want: int) -> str:
        """The shares of a claim of `want` tasks, parted by spaces; "" where it wants none."""
        if not want:
            return ""
        total = sum(self._weights)
        due = [
            owed + want * weight / total
            for owed, weight in zip(self._owed, self._weights, strict=True)
        ]
        shares = [max(0, math.floor(one)) for one in due]
        while (left := want - sum(shares)) != 0:  # the roundings: fewer than there are lists
            step = 1 if left > 0 else -1
            most = max(
                (i for i in range(len(due)) if shares[i] + step >= 0),
                key=lambda i: step * (due[i] - shares[i]),
            )
            shares[most] += step
        self._owed = [d - share for d, share in zip(due, shares, strict=True)]
        return " ".join(map(str, shares))
