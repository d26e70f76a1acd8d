"""Where one task is, and what is known of it: looked for in slices, in all places where tasks are.

Steps, so that threads and event loops take the same ones (see broker/steps.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from taskrig.broker import Entry, Place, QueueCommands, Stride
from taskrig.broker.steps import Steps
from taskrig.config.sections import Config
from taskrig.keys import is_aside
from taskrig.task import Invalid, Task, decode

SLICE_ITEMS = 1000
NEEDLE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A task and where it is. `at`: its score among the delayed, its id among the dead letters.
    `item`: the bytes that stand there; `task` is None where they are not a task."""

    place: Place
    at: str
    item: bytes
    entry: Entry
    task: Task | None

    @property
    def state(self) -> str:
        """The state of the task; a delayed one that has failed before is retrying."""
        if self.place.state == "delayed" and self.entry.attempts:
            return "retrying"
        return self.place.state

    @property
    def due(self) -> float | None:
        """Unix seconds at which a delayed one is due."""
        return float(self.at) / 1000 if self.place.kind == "zset" else None


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search came to; `complete` is False where its time was up."""

    found: Found | None
    complete: bool = True


def found_at(place: Place, at: str, item: bytes) -> Found:
    """What stands at a place."""
    if place.entries:
        entry = Entry.of(item)
    else:
        entry = Entry(at if place.kind == "hash" else "", 0, 0, 0, item)
    try:
        task = decode(entry.raw)
    except Invalid:
        task = None
    return Found(place, at, item, entry, task)


class Places:
    """Every place where tasks of one queue are, as Redis and the configuration know them."""

    def __init__(
        self, commands: QueueCommands, config: Config, held: list[str], lists: list[str]
    ) -> None:
        k, side = commands.keys, config.queue.pop
        self.in_flight = Place("in_flight", k.inflight, "hash")
        self.redeliver = Place("waiting", k.redeliver, "right", True)
        self.delayed = Place("delayed", k.delayed, "zset", True)
        self.dead = Place("dead", k.dead, "stream")
        self.held = [
            Place("held", k.held_of(name), "right", True) for name in held if not is_aside(name)
        ]
        self.paused = [
            Place("paused", k.held_of(name), "right", True) for name in held if is_aside(name)
        ]
        self.lists = [
            place
            for name in dict.fromkeys([*config.queue.sources, *lists])
            for place in (
                Place("waiting", k.arrivals_of(name), "right"),
                Place("waiting", name, side),
            )
        ]

    @property
    def moving(self) -> list[Place]:
        """Those from which tasks go to other ones, but for the lists."""
        return [self.redeliver, *self.held, *self.paused, self.delayed, self.in_flight]

    def of(self, state: str) -> list[Place]:
        """The places of tasks in one state, in the order in which they are taken. What a limit
        holds counts as waiting too."""
        if state == "waiting":
            return [self.redeliver, *self.held, *self.lists]
        every = {"held": self.held, "paused": self.paused, "in_flight": [self.in_flight]}
        return every.get(state, [self.delayed])


def places(commands: QueueCommands, config: Config) -> Steps[Places]:
    """The places of a queue."""
    held = yield commands.held_names()
    lists = yield commands.lists()
    return Places(commands, config, sorted(held), sorted(lists))


def find(
    commands: QueueCommands,
    config: Config,
    text: str,
    *,
    within_s: float = math.inf,
    progress: Callable[[int], None] = lambda looked_at: None,
) -> Steps[Searched]:
    """The task whose id or tag is `text`; of several with one id, any.

    Workers move tasks meanwhile, and mostly in one direction: so the lists are looked through from
    the end that is pushed to, and what tasks go to from there is looked at again afterwards.
    """
    if not 0 < len(text.encode()) <= NEEDLE_BYTES:
        return Searched(None)
    every = yield from places(commands, config)
    ends = {"left": "right", "right": "left"}
    lists = [Place(p.state, p.key, ends.get(p.kind, p.kind)) for p in every.lists]  # type: ignore[arg-type]
    raw = yield commands.item(text)
    if raw is not None:
        return Searched(found_at(every.in_flight, text, raw))
    until, looked_at = time.monotonic() + within_s, 0
    for place in [*every.moving, *lists, *every.moving, every.dead]:
        at, stride = place.start, Stride(SLICE_ITEMS)
        while at:
            count = stride.count if place.kind == "hash" else SLICE_ITEMS
            part = yield commands.find(place, at, text, count, SLICE_ITEMS)
            stride.saw(part.seen, part.size)
            for where, item in part.rows:
                found = found_at(place, where, item) if isinstance(item, bytes) else None
                if found is not None and _is(found, text):
                    return Searched(found)
            looked_at += part.seen
            progress(looked_at)
            at = part.following
            if at and time.monotonic() >= until:
                return Searched(None, complete=False)
    return Searched(None)


def _is(found: Found, text: str) -> bool:
    task = found.task
    return found.entry.tag == text or (task is not None and task.id == text)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a listing. `found` is None where the item is too large to be read."""

    found: Found | None
    size: int
    place: Place


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the tasks in one state; `following` continues it, "" at the end."""

    rows: tuple[Row, ...]
    following: str


def page(
    commands: QueueCommands, config: Config, state: str, count: int, after: str = ""
) -> Steps[Page]:
    """Up to `count` tasks in one state, the next ones first; of a hash, in no order.

    Args:
        state: waiting, held, paused, delayed, retrying or in_flight.
        after: the `following` of an earlier page.

    Raises:
        ValueError: it is not that.
    """
    every = yield from places(commands, config)
    every_place = every.of(state)
    index, at = _cursor(after, every_place)
    rows: list[Row] = []
    for number, place in enumerate(every_place[index:], index):
        at, stride = at or place.start, Stride(SLICE_ITEMS)
        while at and len(rows) < count:
            room = count - len(rows)
            most = stride.count if place.kind == "hash" else SLICE_ITEMS
            part = yield commands.find(place, at, "", most, room)
            stride.saw(part.seen, part.size)
            rows += (row for row in _rows(place, part.rows) if _shown(row, state))
            at = part.following
        if at:
            return Page(tuple(rows), f"{number}:{at}")
    return Page(tuple(rows), "")


def _rows(place: Place, found: tuple[tuple[str, bytes | int], ...]) -> Iterator[Row]:
    for where, item in found:
        if isinstance(item, bytes):
            one = found_at(place, where, item)
            yield Row(one, len(one.entry.raw), place)
        else:
            yield Row(None, item, place)


def _shown(row: Row, state: str) -> bool:
    if state not in ("delayed", "retrying") or row.found is None:
        return True
    return row.found.state == state


def _cursor(after: str, every: list[Place]) -> tuple[int, str]:
    if not after:
        return 0, ""
    number, _, at = after.partition(":")
    if number.isdecimal() and at.isdecimal() and len(after) < 40 and int(number) < len(every):
        return int(number), at
    raise ValueError(f"{after!r:.60} is not where a page ended")
