"""Where tasks are, and the entries by which those stand there that were claimed before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

HEAD_BYTES = 1024  # more than the head of an entry has
_HEAD = re.compile(rb"(?:([0-9]+)/)?(.*):([0-9]+):([0-9]+)", re.DOTALL)

State = Literal["waiting", "held", "paused", "delayed", "retrying", "in_flight", "dead"]


@dataclass(frozen=True, slots=True)
class Place:
    """One key that holds tasks; `kind` as find.lua has it. `state` is that of its tasks; of
    delayed ones, those that have failed before are `retrying`."""

    state: State
    key: str
    kind: Literal["left", "right", "zset", "hash", "stream"]
    entries: bool = False  # whether its items are entries

    @property
    def start(self) -> str:
        """Where a look through it begins."""
        return "+" if self.kind == "stream" else "0"


@dataclass(frozen=True, slots=True)
class Entry:
    """A task that was claimed before, as lib/entry.lua has it; `tag` is "" of what is no entry.
    `since`: Unix ms of its requeue, 0 where it was not requeued."""

    tag: str
    deliveries: int
    attempts: int
    since: int
    raw: bytes

    @classmethod
    def of(cls, found: bytes) -> Entry:
        """The entry in these bytes."""
        head, bar, raw = found.partition(b"|")
        parts = _HEAD.fullmatch(head) if bar else None
        if parts is None:
            return cls("", 0, 0, 0, found)
        since, tag, deliveries, attempts = parts.groups()
        numbers = int(deliveries), int(attempts), int(since or 0)
        return cls(tag.decode(errors="replace"), *numbers, raw)

    def encode(self) -> bytes:
        """The bytes of an entry with a tag."""
        since = f"{self.since}/" if self.since else ""
        head = f"{since}{self.tag}:{self.deliveries}:{self.attempts}|"
        return head.encode() + self.raw
