"""The commands on the keys of one queue, but for the exchange and what is checked at a start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from taskrig.broker import replies, scripts
from taskrig.broker.commands import Command, command, run_script
from taskrig.broker.dead_letter import DeadLetterSlice, dead_letter_slice
from taskrig.broker.places import HEAD_BYTES, Entry, Place
from taskrig.broker.replies import FindSlice
from taskrig.broker.stride import SLICE_BYTES
from taskrig.broker.survey import Survey, since_and_why, survey_of
from taskrig.config.sections import Config
from taskrig.keys import Keys, type_name, type_of

CLAIM_BYTES = 256 * 1024  # per exchange: 1,000 items of 1 KiB cost Redis 5 ms, of 64 KiB 471 ms
CLAIM_ITEMS = 1000
WORKERS_SHOWN = 200
PASSED_ON = 100  # arrivals at a time
DEAD_SLICE_ITEMS = 300  # about 2 ms of Redis
PEEKED = 1000
GROUP_S = 86_400  # for a group whose key has no expiry
MOST_RESULTS = 10_000  # of one list; the oldest go first
RESULTS_EXPIRE_S = 86_400  # after the last result


class GroupPlan(NamedTuple):
    """A group of `of` members, and the (list, item)... that follow it. The items lack their end:
    the numbers of its members, and two closing braces."""

    of: int
    then: tuple[tuple[str, bytes], ...]
    otherwise: tuple[tuple[str, bytes], ...]


class QueueCommands:
    """The commands on one queue as the config has it."""

    def __init__(self, config: Config) -> None:
        self.keys = Keys.of(config.queue.key)
        self._config = config
        self._side = config.queue.pop

    # -- how things stand ------------------------------------------------------------------------

    def look(self) -> Command[replies.Depths]:
        """The depths, and what housekeeping asks."""
        k = self.keys
        keys = (
            *(k.queue, k.arrivals, k.redeliver, k.inflight, k.delayed, k.dead, k.stats),
            *(k.workers, k.paused, k.reclaiming, k.held, k.paused_types, k.lists),
            *(k.requeued, k.origin, k.groups),
        )
        return run_script(scripts.LOOK, keys, self._side, parse=replies.depths)

    def survey(self, most: int = WORKERS_SHOWN) -> Command[Survey]:
        """The whole picture, with up to `most` workers."""
        k = self.keys
        keys = (
            *(k.queue, k.arrivals, k.redeliver, k.inflight, k.delayed, k.dead, k.stats),
            *(k.workers, k.paused, k.about, k.control, k.held, k.paused_types, k.lists),
            k.requeued,
        )
        arguments = (self._side, most)
        return run_script(scripts.SURVEY, keys, *arguments, parse=lambda r: survey_of(k.queue, r))

    def in_flight(self, tags: Sequence[str]) -> Command[list[bool]]:
        """Which of these tags are in flight."""
        return run_script(scripts.HELD, (self.keys.inflight,), *tags, parse=replies.truths)

    def item(self, tag: str) -> Command[bytes | None]:
        """The raw item of a task in flight; None when it is not."""
        return command("HGET", self.keys.inflight, tag)

    def items(self, tags: Sequence[str]) -> Command[list[bytes | None]]:
        """The raw items of those in flight."""
        return command("HMGET", self.keys.inflight, *tags)

    def counts(self, tags: Sequence[str]) -> Command[list[bytes | None]]:
        """What `meta` holds of these tags."""
        return command("HMGET", self.keys.meta, *tags)

    def held_names(self) -> Command[list[str]]:
        """Names of the held lists that there are."""
        return command("SMEMBERS", self.keys.held, parse=replies.texts)

    def lists(self) -> Command[list[str]]:
        """The lists of a queue that has several."""
        return command("SMEMBERS", self.keys.lists, parse=replies.texts)

    def peek(self, key: str, side: str, skip: int) -> Command[list[bytes | int]]:
        """A slice of a list of tasks, from the end that is taken next: items, or sizes of those
        that are larger than an item may be."""
        bounds = (side, skip, PEEKED, SLICE_BYTES, self._config.queue.max_item_bytes)
        return run_script(scripts.PEEK, (key,), *bounds, parse=_peeked)

    def find(self, place: Place, at: str, text: str, count: int, room: int) -> Command[FindSlice]:
        """A slice of a place: those of its tasks that may hold `text` ("": all), `room` at most."""
        bounds = (count, SLICE_BYTES, room, self._config.queue.max_item_bytes + HEAD_BYTES)
        arguments = (place.kind, at, *bounds, text)
        return run_script(scripts.FIND, (place.key,), *arguments, parse=replies.find_slice)

    def run_now(self, place: Place, found: bytes, entry: Entry | None) -> Command[bool]:
        """Let one task be the next: `found` as it stands there; of a delayed one, the entry that
        takes its place. False where it is not there any more."""
        raw, deliveries = (entry.encode(), entry.deliveries) if entry is not None else (b"", 0)
        kind = "list" if entry is None else "zset"
        bounds = (self._side, deliveries, self._config.worker.max_deliveries)
        keys = (place.key, self.keys.redeliver)
        return run_script(scripts.RUN_NOW, keys, kind, found, raw, *bounds, parse=replies.truth)

    def take_out(
        self, place: Place, found: bytes, claimer: str, tag: str, lease_s: float
    ) -> Command[bool]:
        """Claim one task that waits, as `found` there; False where it is not there any more."""
        k = self.keys
        keys = (place.key, k.inflight, k.meta, k.workers, k.marks, k.stats)
        kind = "zset" if place.kind == "zset" else "list"
        arguments = (claimer, round(lease_s * 1000), tag, kind, found, int(place.entries))
        return run_script(scripts.TAKE_OUT, keys, *arguments, parse=replies.truth)

    def about(self, worker: str) -> Command[bytes | None]:
        """A worker's description."""
        return command("HGET", self.keys.about, worker)

    def result(self, task_id: str) -> Command[list[bytes]]:
        """The result of a task, in a list of one; of none where none is kept."""
        return command("LRANGE", self.keys.result(task_id), 0, 0)

    def wait_for_result(self, task_id: str, within_s: float) -> Command[bytes | None]:
        """The same, held by the server until there is one, for `within_s` at most."""
        key = self.keys.result(task_id)
        return command("BLMOVE", key, key, "LEFT", "LEFT", f"{within_s:.3f}")

    def group_waits(self, name: str) -> Command[bool]:
        """Whether there is a group of this name that no worker has seen to yet."""
        keys = (self.keys.group(name), self.keys.group_state(name))
        return run_script(scripts.GROUP_WAITS, keys, parse=replies.truth)

    def keep_record(self, task_id: str, raw: bytes, ttl_s: int) -> Command[Any]:
        """Keep a task's item under its id, for a producer that asks for it later."""
        return command("SET", self.keys.record(task_id), raw, "EX", ttl_s)

    def record(self, task_id: str) -> Command[bytes | None]:
        """The item that was kept."""
        return command("GET", self.keys.record(task_id))

    def state(self, task_id: str) -> Command[str]:
        """The state of a tracked task; "" where none is kept."""
        return command("GET", self.keys.state(task_id), parse=replies.text)

    def origin(self) -> Command[str]:
        """When and by which queue these keys were begun."""
        return origin_of(self.keys)

    # -- workers and their leases ----------------------------------------------------------------

    def renew(self, worker: str, lease_s: float, about: str) -> Command[replies.Renewed]:
        """Keep a lease; `about` describes the worker as JSON."""
        k, ms = self.keys, round(lease_s * 1000)
        keys = (k.workers, k.about)
        return run_script(scripts.RENEW, keys, worker, ms, about, parse=replies.renewed)

    def time(self) -> Command[float]:
        """Unix seconds by the server's clock."""
        return command("TIME", parse=lambda reply: int(reply[0]) + int(reply[1]) / 1e6)

    def leave(self, worker: str) -> Command[Any]:
        """A worker signs off."""
        k = self.keys
        return run_script(scripts.LEAVE, (k.workers, k.about, k.control, k.alone), worker)

    def forget(self, before_ms: str) -> Command[list[str]]:
        """Drop workers whose leases ended before `before_ms`; which."""
        k = self.keys
        keys = (k.workers, k.about, k.control)
        return run_script(scripts.FORGET, keys, before_ms, parse=replies.texts)

    def reclaim(
        self,
        worker: str,
        cursor: int,
        count: int,
        hold_ms: int,
        below: int = 0,
        known: Sequence[str] = (),
        *,
        expected_s: float = 0.0,
        steady_s: float = 0.0,
    ) -> Command[replies.Slice]:
        """One slice of a scan of in flight by `worker`, which must have a lease; see reclaim.lua.

        Args:
            hold_ms: for how long other scanners wait after the slice.
            below: its own tags with smaller numbers that are not `known` are given back.
            expected_s: what the server's clock must show now, in Unix seconds (0: not known).
            steady_s: for how long it has been seen without a step.
        """
        k, config = self.keys, self._config
        keys = (*(k.inflight, k.meta, k.workers, k.redeliver, k.stats, k.reclaiming, k.about),)
        most = config.worker.max_deliveries
        off_ms = round(min(config.worker.lease_s / 3, 5.0) * 1000) if expected_s else 0
        clock = (round(expected_s * 1000), off_ms, round(steady_s * 1000))
        arguments = (worker, cursor, count, most, hold_ms, below, *clock, *known)
        return run_script(scripts.RECLAIM, keys, *arguments, parse=replies.reclaimed)

    def orphans(self, cursor: int, count: int) -> Command[replies.Orphans]:
        """One slice of in flight: what workers without a live lease hold."""
        keys = (self.keys.inflight, self.keys.workers)
        return run_script(scripts.ORPHANS, keys, cursor, count, parse=replies.orphans)

    def scanner(self) -> Command[str]:
        """Which worker scans in flight now."""
        return command("GET", self.keys.reclaiming, parse=replies.text)

    def end_scan(self) -> Command[Any]:
        """Let others scan."""
        return command("DEL", self.keys.reclaiming)

    def abouts(self, cursor: bytes) -> Command[tuple[bytes, list[bytes]]]:
        """A slice of the workers' descriptions: where to go on (0: the end), and they."""
        where = ("HSCAN", self.keys.about, cursor, "COUNT", 10)
        return command(*where, parse=lambda reply: (reply[0], reply[1][1::2]))

    def ask(self, worker: str, word: str) -> Command[str]:
        """Ask a worker to `drain`, or to `cancel:<number>` a task; how that went, see ask.lua."""
        k = self.keys
        keys = (k.workers, k.control, k.inflight)
        return run_script(scripts.ASK, keys, worker, word, parse=replies.text)

    # -- limits, retries, schedule ---------------------------------------------------------------

    def gate(
        self,
        room: int,
        types: Sequence[tuple[str | int | float, ...]],
        ended: Sequence[tuple[int, str]],
        starting: Sequence[tuple[int, str, int, int, str]],
    ) -> Command[tuple[list[int], list[replies.GateState]]]:
        """Which tasks of limited types may start; the fields are those of gate.lua."""
        k = self.keys
        keys = (k.inflight, k.redeliver, k.held, k.queue, k.arrivals, k.stats, k.marks, k.delayed)
        rows = (
            *(len(types), *(str(value) for row in types for value in row)),
            *(len(ended), *(str(value) for row in ended for value in row)),
            *(str(value) for row in starting for value in row),
        )
        bounds = (k.prefix, self._config.worker.max_deliveries, room, CLAIM_BYTES)
        return run_script(scripts.GATE, keys, *bounds, *rows, parse=replies.gate)

    def bring_back(self, name: str) -> Command[tuple[int, int]]:
        """Give a slice of the held list `name` back to the queue: how many, how many are left."""
        k = self.keys
        keys = (k.held_of(name), k.held, k.paused_types, k.redeliver)
        arguments = (name, self._config.worker.max_deliveries, CLAIM_ITEMS, CLAIM_BYTES)
        return run_script(scripts.BRING_BACK, keys, *arguments, parse=tuple)

    def set_back(
        self, by_s: float, within_s: float, at: str, count: int
    ) -> Command[replies.SetBack]:
        """Let one slice of the delayed retries follow the server's clock; see set_back.lua."""
        keys = (self.keys.delayed, self.keys.clock)
        arguments = (round(by_s * 1000), round(within_s * 1000), at, count)
        return run_script(scripts.SET_BACK, keys, *arguments, parse=replies.set_back)

    def schedule(
        self, name: str, at: int, item: bytes, instead_of: int | None = None
    ) -> Command[replies.Scheduled]:
        """Enqueue a scheduled task for the time `at`, Unix seconds, unless that was done.

        Without an item, learn the last time; where it is `instead_of`, `at` takes its place.
        """
        keys = (self.keys.schedule, self.keys.queue)
        arguments = (name, at, item, self._side, "" if instead_of is None else instead_of)
        return run_script(scripts.SCHEDULE, keys, *arguments, parse=replies.scheduled)

    def pass_on(self, source: str) -> Command[int]:
        """Put arrivals back to their list's front, where another worker's move sees them."""
        keys = (self.keys.arrivals_of(source), source)
        return run_script(scripts.PASS_ON, keys, self._side, PASSED_ON)

    # -- groups ----------------------------------------------------------------------------------

    def group(self, name: str) -> Command[bytes | None]:
        """A group as its producer wrote it."""
        return command("GET", self.keys.group(name))

    def adopt(self, name: str, plan: GroupPlan) -> Command[int]:
        """Take a group over, unless that was done."""
        k = self.keys
        keys = (k.group(name), k.group_state(name), k.groups)
        flat = (part for one in (*plan.then, *plan.otherwise) for part in one)
        counts = (plan.of, len(plan.then), len(plan.otherwise))
        return run_script(scripts.ADOPT, keys, name, GROUP_S * 1000, *counts, *flat)

    def end_groups(self) -> Command[list[bytes]]:
        """Let what follows the groups whose time is over be pushed; their names."""
        keys = (self.keys.groups, self.keys.stats)
        return run_script(scripts.END_GROUPS, keys, self._side)

    # -- pauses ----------------------------------------------------------------------------------

    def pause(self, why: str, for_s: float | None = None) -> Command[bool]:
        """Let no worker claim, for `for_s` seconds at most; whether that is new."""
        until = "" if for_s is None else round(for_s * 1000)
        return run_script(scripts.PAUSE, (self.keys.paused,), why, until, parse=replies.truth)

    def pause_reason(self) -> Command[str]:
        """Why it is paused; "" where it is not, or where no reason was given."""
        return command("GET", self.keys.paused, parse=lambda reply: since_and_why(reply or b"")[1])

    def resume(self) -> Command[bool]:
        """Let workers claim again; whether that is new."""
        return command("DEL", self.keys.paused, parse=replies.truth)

    def pause_type(self, task_type: str, why: str) -> Command[bool]:
        """Let no worker start tasks of one type; whether that is new."""
        keys, name = (self.keys.paused_types,), type_name(task_type)
        return run_script(scripts.PAUSE_TYPE, keys, name, why, parse=replies.truth)

    def resume_type(self, task_type: str) -> Command[bool]:
        """Let workers start them again; whether that is new. `bring_back` then empties its list."""
        where = ("HDEL", self.keys.paused_types, type_name(task_type))
        return command(*where, parse=replies.truth)

    def paused_types(self) -> Command[list[str]]:
        """The paused types, sorted."""
        return command("HKEYS", self.keys.paused_types, parse=_types)

    # -- dead letters ----------------------------------------------------------------------------

    def last_dead_letter(self) -> Command[str]:
        """The id of the newest dead letter, "0-0" where there is none."""
        return command("XREVRANGE", self.keys.dead, "+", "-", "COUNT", 1, parse=_last_id)

    def dead_letters(
        self,
        start: str,
        end: str,
        where: Mapping[str, str],
        *,
        newest_first: bool = False,
        room: int = DEAD_SLICE_ITEMS,
        shown: int = 0,
    ) -> Command[DeadLetterSlice]:
        """A slice of those that match, from id `start` to `end`; `room` at most, with `shown`
        bytes of each item (-1: all)."""
        bounds = (start, end, int(newest_first), DEAD_SLICE_ITEMS, SLICE_BYTES)
        arguments = (*bounds, min(room, DEAD_SLICE_ITEMS), shown, *_pairs(where))
        return run_script(scripts.DEAD_PAGE, (self.keys.dead,), *arguments, parse=dead_letter_slice)

    def move_dead_letters(
        self, act: str, start: str, end: str, where: Mapping[str, str]
    ) -> Command[tuple[str, int, int]]:
        """Requeue or drop a slice of those that match: where to go on, seen, moved."""
        k = self.keys
        keys = (k.queue, k.dead, k.dead_index, k.stats, k.requeued)
        arguments = (act, self._side, start, end, DEAD_SLICE_ITEMS, SLICE_BYTES, *_pairs(where))
        return run_script(
            scripts.DEAD_MOVE, keys, *arguments, parse=lambda r: (r[0].decode(), r[1], r[2])
        )

    # -- what handlers and producers do ----------------------------------------------------------

    def amend(self, tag: str, raw: bytes) -> Command[bool]:
        """Put `raw` in the place of a task's item in flight; False where it is not in flight."""
        return run_script(scripts.AMEND, (self.keys.inflight,), tag, raw, parse=bool)

    def push(self, items: Sequence[bytes], to: str = "") -> Command[int]:
        """Push items in order, to the queue or another list of it; how many wait there then."""
        verb = "LPUSH" if self._side == "right" else "RPUSH"
        return command(verb, to or self.keys.queue, *items)

    def push_tracked(
        self, items: Sequence[bytes], tracked: Sequence[str], to: str = ""
    ) -> Command[int]:
        """The same, and say of the tasks with these ids that they wait."""
        keys = (to or self.keys.queue, *map(self.keys.state, tracked))
        ttl_s = math.ceil(self._config.results.max_ttl_s)
        return run_script(scripts.ENQUEUE, keys, self._side, ttl_s, *items)


def origin_of(keys: Keys) -> Command[str]:
    """When and by which queue these keys were begun."""
    return command("GET", keys.origin, parse=replies.text)


def push_result(key: str, result: bytes) -> Command[int]:
    """Push a result to a list of its producer's; how many stand there."""
    return run_script(scripts.RESULT, (key,), result, MOST_RESULTS, RESULTS_EXPIRE_S)


def _peeked(reply: list[Any]) -> list[bytes | int]:
    _, items = reply
    return list(items)


def _types(names: list[bytes]) -> list[str]:
    return sorted(type_of(name.decode()) for name in names)


def _last_id(rows: list[Any]) -> str:
    return rows[0][0].decode() if rows else "0-0"


def _pairs(where: Mapping[str, str]) -> list[str]:
    return [text for pair in where.items() for text in pair]
