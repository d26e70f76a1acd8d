"""What waits in the queue, in the order in which it will be taken; looked at, never taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from taskrig.admin.inspector import Inspector
from taskrig.broker import Entry
from taskrig.task import Invalid, decode


@dataclass(frozen=True, slots=True)
class WaitingItem:
    """An item that waits. `raw` is None where it is larger than queue.max_item_bytes."""

    raw: bytes | None
    size: int
    again: bool  # it had been claimed before: of a dead worker, delayed, or held by a limit

    def type(self) -> str:
        """The task's type, or "invalid: reason"."""
        if self.raw is None:
            return "invalid: too_large"
        try:
            return decode(self.raw).type
        except Invalid as fault:
            return f"invalid: {fault.reason}"


def waiting_items(inspector: Inspector) -> Iterator[WaitingItem]:
    """Every waiting item, next one first, those of paused types last. Raises BrokerUnavailable.

    Workers take items while this reads on: one may be seen twice or be passed over.
    """
    k = inspector.commands.keys
    for raw in _entries(inspector, k.redeliver, "right"):
        yield _redelivered(raw)
    limited, paused = inspector.held_lists()
    for key in limited:
        for raw in _entries(inspector, key, "right"):
            yield _redelivered(raw)
    lists = dict.fromkeys(inspector.config.queue.sources) | dict.fromkeys(inspector.lists())
    ends: list[tuple[str, str]] = []
    for one in lists:
        ends += [(k.arrivals_of(one), "right"), (one, inspector.config.queue.pop)]
    for key, side in ends:
        for raw in _entries(inspector, key, side):
            if isinstance(raw, bytes):
                yield WaitingItem(raw, len(raw), False)
            else:
                yield WaitingItem(None, raw, False)

    for key in paused:
        for raw in _entries(inspector, key, "right"):
            yield _redelivered(raw)


def _entries(inspector: Inspector, key: str, side: str) -> Iterator[bytes | int]:
    skip = 0
    while True:
        items = inspector.run(inspector.commands.peek(key, side, skip))
        if not items:
            return
        yield from items
        skip += len(items)


def _redelivered(entry: bytes | int) -> WaitingItem:
    if isinstance(entry, int):
        return WaitingItem(None, entry, True)
    raw = Entry.of(entry).raw
    return WaitingItem(raw, len(raw), True)
