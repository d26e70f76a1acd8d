"""Recorded tasks as a workload: the same types, data and pace. Pure but for reading the file."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskrig.errors import UsageError
from taskrig_loadgen.load.mix import MAX_TYPES, Mix, check_type
from taskrig_loadgen.load.pacer import Segment
from taskrig_loadgen.load.workload import Workload

MAX_BYTES = 1024**3  # a recording is held in memory
_OURS = {"type", "data", "run", "enqueued_at", "at"}  # keys that loadgen writes itself, or reads


@dataclass(frozen=True, slots=True)
class RecordedProfile:
    """The due times of a recording, in the shape of a profile."""

    times_s: tuple[float, ...]
    name: str

    @property
    def segments(self) -> tuple[Segment, ...]:
        """One segment of the mean rate, for whoever asks for rates."""
        return (Segment(self.length_s, self.total / self.length_s, self.total / self.length_s),)

    @property
    def length_s(self) -> float:
        """Seconds from the first task to just after the last."""
        return self.times_s[-1] + 1e-6 if self.times_s[-1] > 0 else 1e-3

    @property
    def total(self) -> float:
        """Tasks in all."""
        return float(len(self.times_s))

    @property
    def text(self) -> str:
        """What the report calls it; a ramp for whoever asks: its rate is not steady."""
        return f"recording {self.name}, {self.length_s:.3g}s"

    def due_by(self, offset_s: float) -> float:
        """Tasks due up to `offset_s` seconds after the start."""
        return float(sum(1 for at in self.times_s if at <= offset_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedWorkload(Workload):
    """A workload whose every task is given: `order` says its type, `bodies_in_order` the rest.

    A body is the JSON of the data and of every key that stood beside it.
    """

    bodies_in_order: tuple[bytes, ...] = ()
    data_sizes: tuple[int, ...] = ()  # bytes of data in all, of each type

    def kinds(self) -> Iterator[int]:
        """Which type each task is, in the order sent."""
        return iter(self.order)

    def due(self) -> Iterator[float]:
        """When each task is due, in seconds after the start."""
        profile: Any = self.profile
        return iter(profile.times_s) if profile else iter(())

    @property
    def bodies(self) -> tuple[tuple[bytes, ...], ...]:
        """Per type the data of *all* tasks by number: task n takes the n-th."""
        return (self.bodies_in_order,) * len(self.mix.types)

    def data_bytes(self) -> Iterator[float]:
        """The mean size of each type's `data`, in bytes."""
        sizes = zip(self.data_sizes, self.mix.counts, strict=True)
        return (size / count for size, (_, count) in sizes)


def read_recording(
    path: Path, *, speed: float, drain_timeout_s: float, keep_ids: bool = False
) -> Workload:
    """The workload that a JSON-lines file recorded.

    Args:
        keep_ids: send the `id` too: of a unique type it is then a duplicate until the first ends.

    Raises:
        UsageError: no such file, too large, or a line that is no task; with file:line.
    """
    types: dict[str, int] = {}
    order, bodies, times = [], [], []
    sizes: Counter[int] = Counter()
    left = _OURS if keep_ids else {*_OURS, "id"}
    for number, task in _tasks(path):
        kind = task.get("type")
        if not isinstance(kind, str) or not kind:
            raise UsageError(f"{path}:{number}: the type must be a string that is not empty")
        check_type(f"{path}:{number}", kind)
        order.append(types.setdefault(kind, len(types)))
        data, others = _written(task, left, f"{path}:{number}")
        sizes[order[-1]] += len(data)
        bodies.append(data + others)
        times.append(_time(task, f"{path}:{number}"))
    if not order:
        raise UsageError(f"{path} holds no task")
    if len(types) > MAX_TYPES:
        raise UsageError(f"{path}: {len(types)} types; at most {MAX_TYPES}")
    counts = tuple((name, order.count(number)) for name, number in types.items())
    known = [at for at in times if at is not None]
    if known and len(known) < len(times):
        raise UsageError(f"{path}: some tasks have a time (at, enqueued_at) and some have none")
    if not known:
        return RecordedWorkload(
            mix=Mix(counts),
            drain_timeout_s=drain_timeout_s,
            order=tuple(order),
            bodies_in_order=tuple(bodies),
            data_sizes=tuple(sizes[number] for number in range(len(counts))),
        )
    start = min(known)
    ranked = sorted(range(len(order)), key=lambda n: known[n])
    profile: Any = RecordedProfile(tuple((known[n] - start) / speed for n in ranked), path.name)
    return RecordedWorkload(
        mix=Mix(counts),
        profile=profile,
        drain_timeout_s=drain_timeout_s,
        order=tuple(order[n] for n in ranked),
        bodies_in_order=tuple(bodies[n] for n in ranked),
        data_sizes=tuple(sizes[number] for number in range(len(counts))),
    )


def _written(task: dict[str, Any], left: Set[str], where: str) -> tuple[bytes, bytes]:
    """The JSON of the data, and of every other key but those `left` out, ready to follow it."""
    others = {key: value for key, value in task.items() if key not in left}
    try:
        data, rest = (
            json.dumps(part, separators=(",", ":"), allow_nan=False).encode()
            for part in (task.get("data", {}), others)
        )
    except ValueError:
        raise UsageError(f"{where}: a number is not finite, which JSON cannot say") from None
    return data, b"," + rest[1:-1] if others else b""


def _tasks(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than 1 GiB; cut it into parts")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: byte {error.start}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            task = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(task, dict):
            raise UsageError(f"{path}:{number}: a task is a JSON object, got {line[:40]!r}")
        yield number, task


def _time(task: dict[str, Any], where: str) -> float | None:
    for name in ("at", "enqueued_at"):
        value = task.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{where}: {name} must be a number of seconds, got {value!r}")
        try:
            at = float(value)
        except OverflowError:  # an integer of more than 308 digits
            at = math.inf
        if not math.isfinite(at):
            raise UsageError(f"{where}: {name} must be finite, got {str(value)[:40]}")
        return at
    return None
