"""What is said once for each name, of names that come from tasks and may be any number."""

from __future__ import annotations

MOST_NAMES = 100


class Once:
    """Which names were said of already; remembers at most `most` of them."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._left = most
        self._names: set[str] = set()

    def says(self, name: str) -> str | None:
        """How to end the line about a name; None when there is to be no line."""
        if not self._left or name in self._names:
            return None
        self._left -= 1
        self._names.add(name)
        return "said once a type" if self._left else "said once a type, and of no more types"
