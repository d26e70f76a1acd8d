"""One task: everything known of it, and what may be done to it while it waits."""

from __future__ import annotations

import dataclasses
import json
import math
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from taskrig.admin.search import Found
from taskrig.broker import DeadLetter, Entry, ExchangeCommands, QueueCommands
from taskrig.broker.steps import Steps
from taskrig.broker.survey import about_of
from taskrig.config.sections import Config
from taskrig.task import MAX_ID_BYTES, Outcome, Settlement, Task, json_again

SHOWN_BYTES = 256 * 1024
_LEASE_S = 30.0  # of whoever takes a task out
WHY = "an operator took it out of the queue"


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of one task. Times are Unix seconds by the server's clock; what is not
    known is None. `state`: where it is, or how it has ended."""

    id: str | None
    tag: str | None
    type: str | None
    state: str
    data: Any
    size: int | None
    due: float | None
    deliveries: int | None  # that ended with the death of a worker
    attempts: int | None  # runs that have failed
    requeued_at: float | None
    worker: str | None
    running_since: float | None
    tracked: str | None  # its state as P:state has it
    dead_letter: str | None
    reason: str | None
    error: str | None
    traceback: str | None
    result: dict[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def known(commands: QueueCommands, text: str, found: Found | None) -> Steps[Known | None]:
    """What is known of the task whose id is `text`, or that was found by it; None: nothing."""
    task = found.task if found is not None else None
    task_id = task.id if task is not None and task.id is not None else text
    result = result_of((yield commands.result(task_id)))
    tracked = yield commands.state(task_id)
    if found is None and result is None and not tracked:
        return None
    details: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Known))
    details |= {"id": task_id, "result": result, "tracked": tracked or None}
    if result is not None:
        same = {name: result.get(name) for name in ("type", "reason", "error", "traceback")}
        details |= same | {"state": str(result.get("state")), "worker": result.get("worker")}
    elif found is None:
        details["state"] = tracked
    if found is not None:
        details |= {"id": task.id if task is not None else None}
        details |= yield from _of_place(commands, found)
    return Known(**details)


def _of_place(commands: QueueCommands, found: Found) -> Steps[dict[str, Any]]:
    task, entry = found.task, found.entry
    details: dict[str, Any] = {
        "state": found.state,
        "tag": entry.tag or None,
        "type": task.type if task is not None else None,
        "data": task.data if task is not None and len(entry.raw) <= SHOWN_BYTES else None,
        "size": len(entry.raw),
        "due": found.due,
        "deliveries": entry.deliveries,
        "attempts": entry.attempts,
        "requeued_at": entry.since / 1000 if entry.since else None,
    }
    if found.state == "in_flight":
        details |= yield from _of_worker(commands, entry.tag)
    if found.state == "dead":
        details |= yield from _of_letter(commands, found.at)
    return details


def _of_worker(commands: QueueCommands, tag: str) -> Steps[dict[str, Any]]:
    worker = tag.rpartition(":")[0]
    about = about_of((yield commands.about(worker)) or b"")
    running = about.get("running")
    since = [
        one.get("since")
        for one in (running if isinstance(running, list) else [])
        if isinstance(one, dict) and one.get("tag") == tag
    ]
    (counts,) = yield commands.counts([tag])
    numbers = [int(part) for part in (counts or b"0:0").split(b":") if part.isdigit()]
    return {
        "worker": worker,
        "running_since": since[0] if since and isinstance(since[0], int | float) else None,
        "deliveries": numbers[0] if numbers else 0,
        "attempts": numbers[1] if len(numbers) > 1 else 0,
        "requeued_at": numbers[2] / 1000 if len(numbers) > 2 else None,
    }


def _of_letter(commands: QueueCommands, name: str) -> Steps[dict[str, Any]]:
    part = yield commands.dead_letters(name, name, {}, room=1, shown=0)
    if not part.letters:
        return {}
    letter: DeadLetter = part.letters[0]
    return {
        "state": letter.outcome,
        "dead_letter": letter.id,
        "reason": letter.reason,
        "error": letter.error or None,
        "traceback": letter.traceback or None,
        "worker": letter.worker,
        "deliveries": letter.deliveries,
        "attempts": None,
    }


def result_of(reply: list[bytes]) -> dict[str, Any] | None:
    """The result in a reply; None where there is none, or what anybody may have written there."""
    try:
        value = json.loads(reply[0]) if reply else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def run_now(commands: QueueCommands, found: Found) -> Steps[str]:
    """Let a task that waits be the next one; "" where that was done, else why it was not:
    first (it is before the queue already), held, paused, in_flight, dead, or gone."""
    place, entry = found.place, found.entry
    if place.state in ("held", "paused", "in_flight", "dead"):
        return place.state
    if place.state == "delayed":
        task = found.task
        if task is not None and task.run_at is not None and not entry.attempts:
            due_ms = math.ceil(task.run_at * 1000)  # a worker that sees this does not wait for it
            entry = dataclasses.replace(entry, since=max(entry.since, due_ms))
        done = yield commands.run_now(place, found.item, entry)
    elif place.entries or place.key.startswith(commands.keys.arrivals):
        return "first"
    else:
        done = yield commands.run_now(place, found.item, None)
    return "" if done else "gone"


def _leaves(config: Config, found: Found, claimer: str, why: str) -> tuple[str | bytes | int, ...]:
    """What the task leaves behind, as lib/leaves.lua takes it: the result that it asks for, or that
    the configuration keeps of its type. A tracked state ends."""
    task = found.task
    if task is None:
        return ()
    kept = _kept(config, task, found.entry, claimer, why)
    member = (task.asks is not None and task.asks.member) or ("", "")
    return (*kept, *member, *_follow_ups(config, task, why))


def _follow_ups(config: Config, task: Task, why: str) -> Iterator[str | bytes]:
    """The list and the item of each task that follows one that will not run."""
    parent = {
        "id": task.id,
        "type": task.type,
        "state": Outcome.DEAD.value,
        "result": None,
        "error": why,
    }
    asks = task.asks
    if asks is None or asks.lists - set(config.queue.sources):
        return  # a worker would have found it invalid
    for fields in asks.otherwise:
        more = {"parent": parent} if fields.get("pass_result") is True else {}
        yield fields.get("list") or config.queue.key
        yield json_again({**(task.trace or {}), **fields, **more})


def _kept(
    config: Config, task: Task, entry: Entry, claimer: str, why: str
) -> tuple[str | bytes | int, ...]:
    if task.id is None or len(task.id.encode()) > MAX_ID_BYTES:
        return "", b"", 0, 0
    of_type = config.tasks.get(task.type)
    ttl_s = task.asks.result_ttl_s if task.asks is not None else None
    if ttl_s is not None:
        ttl_s = min(ttl_s, config.results.max_ttl_s)
    elif of_type is not None:
        ttl_s = of_type.result_ttl_s
    document = {
        "id": task.id,
        "type": task.type,
        "state": Outcome.DEAD.value,
        "result": None,
        "error": why,
        "reason": "cancelled",
        "traceback": None,
        "attempts": entry.attempts + 1,
        "deliveries": entry.deliveries + 1,
        "worker": claimer,
        "enqueued": task.enqueued_at,
        "started": None,
        "finished": time.time(),
    }
    raw = json.dumps(document).encode() if ttl_s else b""
    return task.id, raw, math.ceil(ttl_s or 0), 1


def take_out(commands: QueueCommands, config: Config, found: Found, why: str = WHY) -> Steps[str]:
    """Make a task that waits a dead letter, reason `cancelled`, without a run; "" where that was
    done, else why it was not: in_flight, dead, gone, or group (no worker has seen to its group
    yet, so its end would not count there).

    As a worker does it: it is claimed under a lease and then settled. Should this break off between
    the two, the task is reclaimed.
    """
    if found.place.state in ("in_flight", "dead"):
        return found.place.state
    asks = found.task.asks if found.task is not None else None
    if asks is not None and asks.member and (yield commands.group_waits(asks.member[0])):
        return "group"
    claimer = f"operator-{secrets.token_hex(5)}"
    tag = f"{claimer}:1"
    task_type = found.task.type if found.task is not None else ""
    settled = Settlement(tag, Outcome.DEAD, task_type, "cancelled", why)
    settled.leaves = _leaves(config, found, claimer, why)
    if not (yield commands.take_out(found.place, found.item, claimer, tag, _LEASE_S)):
        return "gone"
    yield ExchangeCommands(config, claimer).turn([settled], 0, 2, 0, True)
    yield commands.leave(claimer)
    return ""
