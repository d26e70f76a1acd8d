"""What a task leaves behind as it is settled: its result, its state, tasks that follow it.

All of it is written by exchange.lua in the step that takes the task out of in flight. Here it is
only spelled; "Results" and "Follow-ups" in docs/protocol.md says what the documents hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from taskrig.broker import Broker
from taskrig.engine.dispositions import Dead, Failed, Returned
from taskrig.engine.execution import Execution, settlement_of, tracked
from taskrig.engine.policies import Policies
from taskrig.task import Begun, Outcome, Settlement, json_again

Leaves = tuple[str | bytes | int, ...]
Clock = Callable[[float], float]  # `time.monotonic()` seconds to Unix seconds of the server's clock

MOST_BYTES = 2**20  # of results in one exchange
ENDS = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.DEAD)


def light(ended: Sequence[Execution], most: int) -> list[Execution]:
    """The first of these, `most` at most, whose results and follow-ups Redis takes in a few
    milliseconds."""
    size = 0
    for number, execution in enumerate(ended[:most]):
        task = execution.task
        if isinstance(execution.disposition, Returned):
            size += len(execution.disposition.value)
            size += sum(len(raw) for _, raw in execution.outbox or ())
        if task is not None and task.asks is not None and (task.asks.then or task.asks.otherwise):
            size += len(execution.delivery.raw)
        if size > MOST_BYTES:
            return list(ended[: number + 1])
    return list(ended[:most])


def begun(execution: Execution, policies: Policies) -> Begun:
    """That a tracked task runs now."""
    task = execution.task
    assert task is not None and task.id is not None
    return Begun(execution.delivery.tag, task.id, math.ceil(policies.results.max_ttl_s))


def settlement(execution: Execution, policies: Policies, redis_time: Clock) -> Settlement:
    """What exchange.lua is told of an execution that has ended."""
    told = settlement_of(execution, redis_time)
    task = execution.task
    if task is not None and (task.asks is not None or execution.outbox is not None):
        kept = _kept(execution, policies, redis_time) if task.id is not None else ()
        pushes = [part for one in _follow_ups(execution, policies) for part in one]
        member = (task.asks is not None and task.asks.member) or ("", "")
        policies.kept_any = policies.kept_any or bool(pushes)
        if kept or pushes or member[0]:
            told.leaves = (*(kept or ("", b"", 0, 0)), *member, *pushes)
    return told


def _follow_ups(execution: Execution, policies: Policies) -> Iterator[tuple[str, bytes]]:
    """The lists and items of the tasks that follow one that has ended."""
    task, disposition = execution.task, execution.disposition
    assert task is not None and disposition is not None
    if disposition.outcome not in ENDS:
        return
    succeeded = disposition.outcome is Outcome.SUCCEEDED
    if succeeded:
        for target, raw in execution.outbox or ():
            yield target or policies.queue, raw
    if task.asks is None:
        return
    name = "then" if succeeded else "otherwise"
    given = task.asks.then if succeeded else task.asks.otherwise
    for fields, raw in zip(given, _exact(execution.delivery.raw, name, given), strict=True):
        more: dict[str, Any] = {
            key: value for key, value in (task.trace or {}).items() if key not in fields
        }
        if fields.get("pass_result") is True:
            more["parent"] = _parent(execution)
        yield fields.get("list") or policies.queue, _with(raw, more)


async def adopt(ended: Iterable[Execution], policies: Policies, broker: Broker) -> None:
    """See to the groups that these, and those that began, are members of; raises
    BrokerUnavailable."""
    asks = (one.task.asks for one in ended if one.task is not None)
    names = {one.member[0] for one in asks if one is not None and one.member is not None}
    names |= policies.groups.seen
    if names:
        await policies.groups.adopt(names, broker, policies.queue, policies.lists)
        policies.groups.seen -= names


class _Named(msgspec.Struct):
    then: list[msgspec.Raw] | None = None
    otherwise: list[msgspec.Raw] | None = None


def _exact(raw: bytes, name: str, given: Sequence[dict[str, Any]]) -> list[bytes]:
    """The items as they stand in the task, byte for byte where the fast parser takes it."""
    if not given:
        return []
    try:
        found = getattr(msgspec.json.decode(raw, type=_Named), name)
    except ValueError:
        return [json_again(one) for one in given]
    return [bytes(one) for one in found]


def _with(raw: bytes, more: dict[str, Any]) -> bytes:
    """An object with more keys; of a key that is there already the later one counts."""
    if not more:
        return raw
    return raw.rstrip()[:-1] + b"," + msgspec.json.encode(more)[1:]


def _parent(execution: Execution) -> dict[str, Any]:
    task, disposition = execution.task, execution.disposition
    assert task is not None and disposition is not None
    value = disposition.value if isinstance(disposition, Returned) else b"null"
    return {
        "id": task.id,
        "type": task.type,
        "state": disposition.outcome.value,
        "result": msgspec.Raw(value),
        "error": disposition.error if isinstance(disposition, Failed) else None,
    }


def _kept(execution: Execution, policies: Policies, redis_time: Clock) -> Leaves:
    task, disposition = execution.task, execution.disposition
    assert task is not None and task.id is not None and disposition is not None
    if isinstance(disposition, Dead) and disposition.reason == "duplicate":
        return ()  # its id is that of another task, which is queued or runs
    state_ttl_s = math.ceil(policies.results.max_ttl_s) if tracked(execution) else 0
    document, ttl_s = b"", 0.0
    if disposition.outcome in ENDS and (ttl_s := policies.result_ttl_s(task)):
        document = msgspec.json.encode(_document(execution, redis_time))
    if not document and not state_ttl_s:
        return ()
    return task.id, document, math.ceil(ttl_s), state_ttl_s


def _document(execution: Execution, redis_time: Clock) -> dict[str, Any]:
    task, delivery, disposition = execution.task, execution.delivery, execution.disposition
    assert task is not None and disposition is not None
    failed = disposition if isinstance(disposition, Failed) else None
    value = disposition.value if isinstance(disposition, Returned) else b"null"
    trace = execution.trace if failed is not None else None
    ran = execution.ended > 0
    return {
        "id": task.id,
        "type": task.type,
        "state": disposition.outcome.value,
        "result": msgspec.Raw(value),
        "error": failed and failed.error,
        "reason": failed and failed.reason,
        "traceback": trace and trace.text,
        "attempts": delivery.attempts + 1,
        "deliveries": delivery.deliveries + (failed is None or failed.reason != "poison"),
        "worker": delivery.tag.partition(":")[0],
        "enqueued": task.enqueued_at,
        "started": redis_time(execution.started) if ran else None,
        "finished": redis_time(execution.ended or execution.started),
    }
