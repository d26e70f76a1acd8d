"""The dead letters: look through them, requeue them byte for byte, drop them. In slices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from taskrig.admin.inspector import Inspector
from taskrig.broker import DeadLetter

FIELDS = ("outcome", "type", "reason", "worker")  # what a filter may ask for


_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})", re.ASCII)


def is_id(text: str) -> bool:
    """Whether it can be the id of a dead letter: Redis's stream ids have two parts of 64 bits."""
    found = _ID.fullmatch(text)
    return found is not None and all(int(part) < 2**64 for part in found.groups())


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
    """The dead letters of a queue. `where` filters by FIELDS; {} is all of them."""

    def __init__(self, inspector: Inspector) -> None:
        self._run = inspector.run
        self._commands = inspector.commands

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
            part = self._run(
                self._commands.dead_letters(
                    *(at, end, where),
                    newest_first=not oldest_first,
                    room=count - len(letters),
                    shown=shown,
                )
            )
            at = part.following
            letters += part.letters
            looked += part.seen
            if budget_items and looked >= budget_items:
                break
        return Page(tuple(letters), at)

    def get(self, letter: str, shown: int = -1) -> DeadLetter | None:
        """One letter with its whole item, or `shown` bytes of it; raises BrokerUnavailable."""
        part = self._run(self._commands.dead_letters(letter, letter, {}, room=1, shown=shown))
        return part.letters[0] if part.letters else None

    def values(self, field: str) -> Counter[str]:
        """How often each value of one of FIELDS occurs among the newest 1,000 letters."""
        return Counter(getattr(letter, field) for letter in self.page({}, 1000, shown=0).letters)

    def count(self, where: dict[str, str]) -> Iterator[Progress]:
        """Count those that match, slice by slice; the last one yielded has the result."""
        at, looked, matching = "-", 0, 0
        end = self._run(self._commands.last_dead_letter())
        while at:
            part = self._run(self._commands.dead_letters(at, end, where, room=0))
            at, looked, matching = part.following, looked + part.seen, matching + part.matching
            yield Progress(looked, matching)

    def move(
        self, act: str, where: dict[str, str], at: str = "-", end: str = ""
    ) -> Iterator[Progress]:
        """Requeue or drop those that match, slice by slice; raises BrokerUnavailable.

        Only what was dead when it began: a requeued task that fails again is not taken twice.
        To go on with an earlier walk, give its progress's `next` and `end`.
        """
        looked, moved = 0, 0
        end = end or self._run(self._commands.last_dead_letter())
        while at:
            at, seen, found = self._run(self._commands.move_dead_letters(act, at, end, where))
            looked, moved = looked + seen, moved + found
            yield Progress(looked, moved, at, end)

    def move_one(self, act: str, letter: str) -> bool:
        """Requeue or drop one; False when there is none of this id. Raises BrokerUnavailable."""
        _, _, moved = self._run(self._commands.move_dead_letters(act, letter, letter, {}))
        return moved == 1
