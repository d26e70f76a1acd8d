"""The numbers of a worker's tags, and which of them a claim may still bring.

A number is used once; so after a lost reply the worker can ask for exactly the tags that call
could have created.
"""

from __future__ import annotations

from collections.abc import Iterable


class Claims:
    """Numbers of claims that are open, that ended, and whose replies were lost."""

    def __init__(self) -> None:
        self.open_want = 0  # what the exchange under way may bring
        self.lost: list[tuple[int, int]] = []  # (first, count) of claims whose reply was lost
        self._next = 1
        self._open_from = 1  # the first number that the latest exchange could have used

    def begin(self, want: int) -> int:
        """An exchange for `want` tasks begins; returns the number of the first."""
        first = self._open_from = self._next
        self._next += want
        self.open_want = want
        return first

    def brought(self, first: int, want: int, count: int) -> None:
        """Its reply brought `count` tasks: the numbers after them are free again, unless others
        were given out since."""
        if self._next == first + want:
            self._next = first + count

    def reserve(self) -> int:
        """The number for the tag of a task that is claimed beside the exchanges."""
        self._next += 1
        return self._next - 1

    def below(self, reserved: Iterable[int]) -> int:
        """The number below which no claim is open or unknown; `reserved` are not known either."""
        return min([self._open_from, *(first for first, _ in self.lost), *reserved])
