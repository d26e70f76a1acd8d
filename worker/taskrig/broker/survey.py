"""The whole picture of a queue at one moment, as commands and the status page show it."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from taskrig.keys import type_of
from taskrig.task import Invalid, decode

FINAL = ("succeeded", "failed", "invalid", "dead")


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A task that runs now; `for_s` is None where its worker has not told since when. `pid`, and
    `memory` in bytes, are of the process that runs it, 0 where none does. `batch` is the number of
    tasks of the batch that it is the first of, 0 where it runs without one."""

    tag: str
    type: str
    worker: str
    for_s: float | None
    pid: int
    memory: int
    batch: int = 0


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker with a live lease, by its own description."""

    id: str
    host: str
    pid: int
    version: str
    http: str
    age_s: float | None
    lease_left_s: float
    concurrency: int
    running: int  # all of them; it lists a hundred
    draining: bool
    cpu_s: float | None = None  # of its process so far; None: it does not say
    memory_bytes: int = 0  # the most its process had so far
    types: tuple[str, ...] | None = None  # that it has handlers for; None: it does not say
    test_types: tuple[str, ...] | None = None  # those whose handlers have no effect


@dataclass(frozen=True, slots=True)
class PausedType:
    """A type that no worker starts, or (`paused` false) whose tasks are on their way back."""

    type: str
    paused: bool
    since: float | None
    why: str
    aside: int  # its tasks that were claimed and set aside; more may wait in the queue


@dataclass(frozen=True, slots=True)
class Trimmed:
    """Dead letters that their bounds have dropped, ever, and when the latest; Unix seconds."""

    failed: int  # tasks: failed or dead
    failed_at: float | None
    invalid: int  # invalid items
    invalid_at: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """What two looks at the queue tell, `over_s` seconds apart; tasks a second."""

    over_s: float
    done_per_s: float
    arriving_per_s: float
    time_to_empty_s: float | None  # None: the backlog does not shrink


@dataclass(frozen=True, slots=True)
class Survey:
    """How things stand. Times are Unix seconds by the server's clock."""

    queue: str
    at: float
    waiting: int
    in_flight: int
    delayed: int
    dead: int
    aside: int  # of paused types
    paused: bool
    paused_since: float | None
    paused_why: str
    paused_types: tuple[PausedType, ...]
    oldest_waiting_s: float | None  # None: nothing waits, or the next task carries no time
    lists: dict[str, int]  # waiting in each list, where the queue has several
    trimmed: Trimmed
    totals: dict[str, int]
    types: tuple[str, ...] | None  # that live workers have handlers for; None: not all told theirs
    workers: tuple[WorkerSeen, ...]
    workers_alive: int  # may be more than are described
    workers_silent: int  # leases that ran out; their tasks are about to be reclaimed
    running: tuple[RunningTask, ...]

    @property
    def done(self) -> int:
        """Tasks that will not run again, ever since the queue began."""
        return sum(self.totals.get(name, 0) for name in FINAL)

    @property
    def slots(self) -> int:
        """Tasks that the described workers can run at once."""
        return sum(worker.concurrency for worker in self.workers)

    @property
    def running_total(self) -> int:
        """Tasks that the described workers run; `running` lists up to a hundred of each."""
        return sum(worker.running for worker in self.workers)

    def without(self, ended: Iterable[RunningTask]) -> Survey:
        """The same without tasks that have ended since their workers last told."""
        gone = {task.tag for task in ended}
        fewer = Counter(task.worker for task in self.running if task.tag in gone)
        running = [task for task in self.running if task.tag not in gone]
        return replace(
            self,
            running=tuple(sorted(running, key=lambda task: -(task.for_s or 0.0))),
            workers=tuple(replace(w, running=w.running - fewer[w.id]) for w in self.workers),
        )

    def rates(self, before: Survey) -> Rates | None:
        """What has happened since `before`; None when no time has passed."""
        over_s = self.at - before.at
        if over_s <= 0:
            return None
        done = self.done - before.done
        now = self.waiting + self.in_flight + self.delayed + self.aside
        then = before.waiting + before.in_flight + before.delayed + before.aside
        arrived = now - then + done
        net = (done - arrived) / over_s
        left_s = None
        if self.waiting == 0:
            left_s = 0.0
        elif net > 0:
            left_s = self.waiting / net
        return Rates(over_s, max(0.0, done / over_s), max(0.0, arrived / over_s), left_s)

    def as_dict(self, rates: Rates | None = None) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        depth = {name: plain.pop(name) for name in ("waiting", "in_flight", "delayed", "dead")}
        depth["paused"] = plain.pop("aside")
        return {
            **plain,
            "depth": depth,
            "done": self.done,
            "slots": self.slots,
            "running_total": self.running_total,
            "rates": asdict(rates) if rates is not None else None,
        }


def survey_of(queue: str, reply: list[Any]) -> Survey:
    """The survey in a reply of survey.lua; what runs is as the workers last told."""
    waiting, in_flight, delayed, dead, seconds, micros, paused, front, silent, alive, *rest = reply
    flat, rows, types, lists = rest
    at = seconds + micros / 1e6
    abouts = [(row, about_of(row[2])) for row in rows]
    since, why = since_and_why(paused)
    paused_types = [_paused_type(*row) for row in types]
    totals = {flat[i].decode(): int(flat[i + 1]) for i in range(0, len(flat), 2)}
    return Survey(
        queue=queue,
        at=at,
        waiting=waiting,
        in_flight=in_flight,
        delayed=delayed,
        dead=dead,
        aside=sum(one.aside for one in paused_types),
        paused=bool(paused),
        paused_since=since,
        paused_why=why,
        paused_types=tuple(sorted(paused_types, key=lambda one: one.type)),
        oldest_waiting_s=oldest_of([front, *(row[2] for row in lists)], at),
        lists={name.decode(errors="replace"): count for name, count, _ in lists},
        trimmed=_trimmed(totals),
        totals=totals,
        types=_types([about for _, about in abouts], alive),
        workers=tuple(_worker(row, about, at) for row, about in abouts),
        workers_alive=alive,
        workers_silent=silent,
        running=tuple(
            task
            for row, about in abouts
            for task in _running(row[0].decode(errors="replace"), about, at)
        ),
    )


def _trimmed(totals: dict[str, int]) -> Trimmed:
    """What the totals say of it; the two times among them are taken out."""
    failed_at, invalid_at = (
        totals.pop(name, None) for name in ("dead_trimmed_at", "invalid_trimmed_at")
    )
    invalid = totals.get("invalid_trimmed", 0)
    return Trimmed(totals.get("dead_trimmed", 0) - invalid, failed_at, invalid, invalid_at)


def since_and_why(text: bytes) -> tuple[float | None, str]:
    """Since when (Unix seconds) and why something is paused, as pause.lua writes it."""
    since, _, why = text.decode(errors="replace").partition(" ")
    return (float(since) if since.isdigit() and len(since) < 16 else None), why


def _paused_type(name: bytes, text: bytes, aside: int) -> PausedType:
    since, why = since_and_why(text)
    return PausedType(type_of(name.decode(errors="replace")), bool(text), since, why, aside)


def about_of(raw: bytes) -> dict[str, Any]:
    """A worker's description; anybody may have written it, so nothing in it is relied on."""
    with contextlib.suppress(ValueError, RecursionError):
        about = json.loads(raw)
        if isinstance(about, dict):
            return about
    return {}


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
    return float(value) if good else None


def _text(value: Any, most: int, otherwise: str = "") -> str:
    return value[:most] if isinstance(value, str) else otherwise


def _worker(row: list[Any], about: dict[str, Any], at: float) -> WorkerSeen:
    name, left_ms, _, control = row
    started = _number(about.get("started"))
    running = about.get("running")
    listed = len(running) if isinstance(running, list) else 0
    return WorkerSeen(
        id=name.decode(errors="replace"),
        host=_text(about.get("host"), 100, "?"),
        pid=int(_number(about.get("pid")) or 0),
        version=_text(about.get("version"), 40, "?"),
        http=_text(about.get("http"), 100),
        age_s=max(0.0, at - started) if started is not None else None,
        lease_left_s=left_ms / 1000,
        concurrency=int(_number(about.get("concurrency")) or 0),
        running=max(listed, int(_number(about.get("running_total")) or 0)),
        draining=b"drain" in control.split() or about.get("draining") is True,
        cpu_s=_number(about.get("cpu")),
        memory_bytes=int(_number(about.get("memory")) or 0),
        types=_names(about.get("types")),
        test_types=_names(about.get("test_types")),
    )


def _names(told: Any) -> tuple[str, ...] | None:
    return tuple(_text(one, 256) for one in told) if isinstance(told, list) else None


def _types(abouts: list[dict[str, Any]], alive: int) -> tuple[str, ...] | None:
    """The types of all live workers together; None where one of them is older, or has too many."""
    told = [about.get("types") for about in abouts]
    if not told or len(told) < alive:
        return None
    known: set[str] = set()
    for types in told:
        if not isinstance(types, list):
            return None
        known.update(_text(one, 256) for one in types)
    return tuple(sorted(known))


def _running(worker: str, about: dict[str, Any], at: float) -> list[RunningTask]:
    tasks = []
    listed = about.get("running")
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and isinstance(one.get("tag"), str):
            since = _number(one.get("since"))
            for_s = max(0.0, at - since) if since is not None else None
            numbers = (int(_number(one.get(name)) or 0) for name in ("pid", "memory", "batch"))
            kind = _text(one.get("type"), 256)
            tasks.append(RunningTask(one["tag"], kind, worker, for_s, *numbers))
    return tasks


def oldest_of(fronts: Iterable[bytes], at: float) -> float | None:
    """The greatest age of these items, in seconds; None where none carries its time."""
    return max((age for one in fronts if (age := _age_of(one, at)) is not None), default=None)


def _age_of(front: bytes, at: float) -> float | None:
    if not front:
        return None
    try:
        enqueued_at = decode(front).enqueued_at
    except Invalid:
        return None
    return max(0.0, at - enqueued_at) if enqueued_at is not None else None
