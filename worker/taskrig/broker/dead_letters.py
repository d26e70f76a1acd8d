"""The dead letters: look through them, requeue them byte for byte, drop them. In slices."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from taskrig.broker.operate import Operator
from taskrig.broker.scripts import DEAD_MOVE, DEAD_PAGE
from taskrig.broker.stride import SLICE_BYTES

SLICE_ITEMS = 300  # about 2 ms of Redis
FIELDS = ("outcome", "type", "reason", "worker")  # what a filter may ask for


_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})", re.ASCII)


def is_id(text: str) -> bool:
    """Whether it can be the id of a dead letter: Redis's stream ids have two parts of 64 bits."""
    found = _ID.fullmatch(text)
    return found is not None and all(int(part) < 2**64 for part in found.groups())


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
class Page:
    """A part of the dead letters; `next` continues it, "" when there is no more."""

    letters: tuple[DeadLetter, ...]
    next: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a walk through the dead letters has come."""

    looked_at: int
    matching: int
    next: str = ""  # where to go on, "" at the end ...
    end: str = ""  # ... and up to which id


class DeadLetters:
    """The dead letters of an operator's queue. `where` filters by FIELDS; {} is all of them."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._key = operator.keys.dead

    def page(
        self,
        where: dict[str, str],
        count: int,
        *,
        after: str = "",
        oldest_first: bool = False,
        shown: int = 200,
        budget_items: int = 0,
    ) -> Page:
        """Up to `count` letters, newest first unless told.

        Args:
            after: the `next` of an earlier page.
            shown: bytes of each raw item; -1 for all.
            budget_items: look at so many at most (0: no bound), so that a rare filter ends.

        Raises:
            BrokerUnavailable
        """
        letters: list[DeadLetter] = []
        at, looked = after or ("-" if oldest_first else "+"), 0
        end = "+" if oldest_first else "-"
        while at and len(letters) < count:
            at, seen, _, rows = self._slice(
                at, end, not oldest_first, count - len(letters), shown, where
            )
            letters += rows
            looked += seen
            if budget_items and looked >= budget_items:
                break
        return Page(tuple(letters), at)

    def get(self, letter: str, shown: int = -1) -> DeadLetter | None:
        """One letter with its whole item, or `shown` bytes of it; raises BrokerUnavailable."""
        _, _, _, rows = self._slice(letter, letter, False, 1, shown, {})
        return rows[0] if rows else None

    def count(self, where: dict[str, str]) -> Iterator[Progress]:
        """Count those that match, slice by slice; the last one yielded has the result."""
        at, looked, matching, end = "-", 0, 0, self._last()
        while at:
            at, seen, found, _ = self._slice(at, end, False, 0, 0, where)
            looked, matching = looked + seen, matching + found
            yield Progress(looked, matching)

    def move(
        self, act: str, where: dict[str, str], at: str = "-", end: str = ""
    ) -> Iterator[Progress]:
        """Requeue or drop those that match, slice by slice; raises BrokerUnavailable.

        Only what was dead when it began: a requeued task that fails again is not taken twice.
        To go on with an earlier walk, give its progress's `next` and `end`.
        """
        looked, moved, end = 0, 0, end or self._last()
        while at:
            at, seen, found = self._move(act, at, end, where)
            looked, moved = looked + seen, moved + found
            yield Progress(looked, moved, at, end)

    def move_one(self, act: str, letter: str) -> bool:
        """Requeue or drop one; False when there is none of this id. Raises BrokerUnavailable."""
        return self._move(act, letter, letter, {})[2] == 1

    def _last(self) -> str:
        found = self._operator.wire.call("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        return found[0][0].decode() if found else "0-0"

    def _move(self, act: str, at: str, end: str, where: dict[str, str]) -> tuple[str, int, int]:
        k = self._operator.keys
        keys = (k.queue, k.dead, k.dead_index, k.stats, k.requeued)
        side = self._operator.config.queue.pop
        bounds = (at, end, SLICE_ITEMS, SLICE_BYTES)
        following, seen, moved = self._operator.wire.run(
            DEAD_MOVE, keys, act, side, *bounds, *_pairs(where)
        )
        return following.decode(), seen, moved

    def _slice(
        self, at: str, end: str, newest: bool, room: int, shown: int, where: dict[str, str]
    ) -> tuple[str, int, int, list[DeadLetter]]:
        bounds = (at, end, "1" if newest else "0", SLICE_ITEMS, SLICE_BYTES)
        following, seen, matching, rows = self._operator.wire.run(
            DEAD_PAGE, (self._key,), *bounds, min(room, SLICE_ITEMS), shown, *_pairs(where)
        )
        return following.decode(), seen, matching, [_letter(row) for row in rows]


def _pairs(where: dict[str, str]) -> list[str]:
    return [text for pair in where.items() for text in pair]


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
