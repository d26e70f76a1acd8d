"""A dead letter, as dead_page.lua tells of it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `start` is the raw item, or its first bytes; `size` is all of it."""

    id: str
    size: int
    start: bytes
    outcome: str
    reason: str
    error: str
    type: str
    deliveries: int
    worker: str
    time: float  # Unix seconds by the server's clock
    traceback: str = ""  # where its handler was, in lines; "" where none was running

    @property
    def whole(self) -> bool:
        """Whether `start` is the whole item."""
        return len(self.start) == self.size

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the item as text where it is text, and exact in base64."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "start"}
        return {
            **plain,
            "raw": self.start.decode("utf-8", "backslashreplace"),
            "raw_base64": base64.b64encode(self.start).decode(),
            "raw_complete": self.whole,
        }


@dataclass(frozen=True, slots=True)
class DeadLetterSlice:
    """A slice of the dead letters: where it goes on ("": the end), how many were looked at, how
    many of them match, and those that there was room for."""

    following: str
    seen: int
    matching: int
    letters: tuple[DeadLetter, ...]


def dead_letter_slice(reply: list[Any]) -> DeadLetterSlice:
    """Of dead_page.lua."""
    following, seen, matching, rows = reply
    return DeadLetterSlice(following.decode(), seen, matching, tuple(map(_letter, rows)))


def _letter(row: list[bytes]) -> DeadLetter:
    name, size, start, *texts = row
    outcome, reason, error, kind, deliveries, worker, at, traceback = (
        text.decode(errors="backslashreplace") for text in texts
    )
    return DeadLetter(
        id=name.decode(),
        size=int(size),
        start=start,
        outcome=outcome,
        reason=reason,
        error=error,
        type=kind,
        deliveries=int(deliveries) if deliveries.isdigit() else 0,
        worker=worker,
        time=float(at) if at.replace(".", "", 1).isdigit() else int(name.split(b"-")[0]) / 1000,
        traceback=traceback,
    )
