"""What most scripts and commands answer, as named types: a reply is read by its places here alone.

What the exchange answers, dead letters and the survey are read in modules of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskrig.broker.survey import oldest_of
from taskrig.keys import type_of
from taskrig.task import Delivery

UNKNOWN = 2**53  # a position after all others: what has it never counts as older


@dataclass(frozen=True, slots=True)
class Depths:
    """How things stand on the queue, counted in tasks."""

    waiting: int
    in_flight: int
    delayed: int
    dead: int
    expired: int  # leases that ran out and are not yet dealt with
    paused: bool
    scanned_by: str
    claimed: int  # ever, by all workers
    trimmed: dict[str, int]  # dead letters dropped by their bounds, ever: failed, invalid
    now_s: int  # Unix seconds by the server's clock
    fronts: tuple[bytes, ...]  # the next item of each list, where it is short
    aside: int  # of paused types, set aside; not among `waiting`
    paused_types: frozenset[str]
    left_over: tuple[str, ...]  # held lists of types that are paused no more
    held: int  # of the waiting ones, those that a limit keeps back
    lists: dict[str, int]  # waiting in each list, where the queue has several
    held_by_type: dict[str, int]  # by the type's name in keys
    wrong: tuple[str, ...]  # keys of types that are no lists and should be, in words
    origin: str  # changes when Redis comes back without its data; "": not said yet
    groups_over: int = 0  # groups whose time is over, and that have not ended yet

    def oldest_s(self) -> float | None:
        """Age of the oldest next task of a list, in seconds; None where none carries a time."""
        return oldest_of(self.fronts, self.now_s)


def depths(reply: list[Any]) -> Depths:
    """Of look.lua."""
    waiting, in_flight, delayed, dead, expired, paused, scanned_by, *rest = reply
    claimed, trimmed, now_s, front, aside, paused_types, left_over, held, lists, *more = rest
    held_by_type, wrong, invalid_trimmed, origin, groups_over = more
    return Depths(
        waiting,
        in_flight,
        delayed,
        dead,
        expired,
        paused == 1,
        scanned_by.decode(),
        claimed,
        {"failed": trimmed - invalid_trimmed, "invalid": invalid_trimmed},
        now_s,
        (front, *(front_of_list for _, _, front_of_list in lists)),
        aside,
        frozenset(type_of(name.decode()) for name in paused_types),
        tuple(name.decode() for name in left_over),
        held,
        {name.decode(errors="replace"): waiting for name, waiting, _ in lists},
        {name.decode(): number for name, number in held_by_type},
        tuple(wrong_type(key, found, b"list") for key, found in wrong),
        origin.decode(errors="replace"),
        groups_over,
    )


def wrong_type(key: bytes, found: bytes, expected: bytes) -> str:
    """A key of a wrong type, in words."""
    return mismatch(*(part.decode(errors="backslashreplace") for part in (key, found, expected)))


def mismatch(key: str, found: str, expected: str) -> str:
    """The same of a key that is named in words already."""
    return f"{key} holds a {found} and must be a {expected}"


@dataclass(frozen=True, slots=True)
class GateState:
    """How a limited type stands after its turn at the gate."""

    wait_ms: int  # until the limits allow another of the held ones; -1: not known
    moved: int  # held tasks that were brought back
    cursor: str  # of the look for stale marks
    wrong: str  # a key of it that has a wrong type, in words; "" where none has


def gate(reply: list[Any]) -> tuple[list[int], list[GateState]]:
    """Of gate.lua: a verdict for each task that would start, and the state of each type."""
    verdicts, *states = reply
    return verdicts, [
        GateState(wait_ms, moved, cursor.decode(), wrong_type(*wrong) if wrong[0] else "")
        for wait_ms, moved, cursor, *wrong in states
    ]


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice of a scan of in flight."""

    state: str  # "" | busy | refused | stepped
    cursor: int
    moved: int
    seen: int
    bytes: int
    now_ms: str


def reclaimed(reply: list[Any]) -> Slice:
    """Of reclaim.lua."""
    state, cursor, moved, seen, size, now_ms = reply
    return Slice(state.decode(), int(cursor), moved, seen, size, now_ms.decode())


@dataclass(frozen=True, slots=True)
class Orphans:
    """One slice of in flight: how many tasks are there of each worker without a live lease."""

    cursor: int
    seen: int
    bytes: int
    workers: tuple[tuple[str, int], ...]


def orphans(reply: list[Any]) -> Orphans:
    """Of orphans.lua."""
    cursor, seen, size, rows = reply
    workers = tuple((worker.decode(errors="replace"), count) for worker, count in rows)
    return Orphans(int(cursor), seen, size, workers)


@dataclass(frozen=True, slots=True)
class SetBack:
    """One slice of the delayed retries; `following` is "" after the last."""

    following: str
    seen: int
    moved: int
    bytes: int


def set_back(reply: list[Any]) -> SetBack:
    """Of set_back.lua."""
    following, seen, moved, size = reply
    return SetBack(following.decode(), seen, moved, size)


@dataclass(frozen=True, slots=True)
class Scheduled:
    """Whether a scheduled task was enqueued now, and its last time enqueued, in Unix seconds."""

    enqueued: bool
    last: float


def scheduled(reply: list[Any]) -> Scheduled:
    """Of schedule.lua."""
    enqueued, last = reply
    return Scheduled(enqueued == 1, float(last))


@dataclass(frozen=True, slots=True)
class Renewed:
    """`gap`: there was no live lease. `at`: Unix seconds by the server's clock."""

    gap: bool
    at: float


def renewed(reply: list[Any]) -> Renewed:
    """Of renew.lua."""
    gap, seconds, micros = reply
    return Renewed(gap == 1, seconds + micros / 1e6)


def in_flight(tags: list[str], raws: list[Any], counts: list[Any]) -> list[Delivery]:
    """Of two HMGETs, of `inflight` and `meta`: those of the tags that are in flight."""
    found: list[Delivery] = []
    for tag, raw, meta in zip(tags, raws, counts, strict=True):
        if raw is not None:
            deliveries, attempts, *since = (meta or b"0:0").split(b":")
            delivery = Delivery(tag, raw, int(deliveries), int(attempts), meta is not None)
            delivery.requeued_at = int(since[0]) / 1000 if since else 0.0
            delivery.position = UNKNOWN
            found.append(delivery)
    return found


def texts(reply: list[bytes]) -> list[str]:
    """Names, in the order in which they came."""
    return [name.decode(errors="replace") for name in reply]


@dataclass(frozen=True, slots=True)
class FindSlice:
    """A slice of a place where tasks are: where it goes on ("": the end), how many were looked at,
    of how many bytes, and those that match, each with its place: the item, or its size."""

    following: str
    seen: int
    size: int
    rows: tuple[tuple[str, bytes | int], ...]


def find_slice(reply: list[Any]) -> FindSlice:
    """Of find.lua."""
    following, seen, size, rows = reply
    found = tuple((place.decode(errors="replace"), item) for place, item in rows)
    return FindSlice(following.decode(), seen, size, found)


def text(reply: bytes | None) -> str:
    """A text; "" where there is none."""
    return (reply or b"").decode(errors="replace")


def truth(reply: int) -> bool:
    """Whether it is 1."""
    return reply == 1


def truths(reply: list[int]) -> list[bool]:
    """Which are 1."""
    return [one == 1 for one in reply]
