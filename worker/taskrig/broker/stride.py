"""How many entries of unknown size to ask Redis for at a time."""

from __future__ import annotations

SLICE_BYTES = 256 * 1024  # of one slice: some milliseconds of Redis, by the number of entries
_OVERHEAD = 64  # bytes of an entry besides its value


class Stride:
    """`count` begins with one entry, and at most doubles: of the sizes nothing is known at first.

    Then it is as many as fit into SLICE_BYTES if they are as large as the last ones on average.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.count = 1

    def saw(self, entries: int, size: int) -> None:
        """The last slice had this number of entries, of `size` bytes together."""
        fit = int(SLICE_BYTES / (size / max(1, entries) + _OVERHEAD))
        self.count = max(1, min(self._most, self.count * 2, fit))
