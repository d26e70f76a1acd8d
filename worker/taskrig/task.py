"""What Redis hands over (Delivery), what it means (Task), and what became of it (Outcome).

`decode` is the one function that decides whether a list item is a task. Its rules are the
table in docs/protocol.md. They are stated once, over the standard library's parser; a faster
codec may only save that parser the work where both agree.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NoReturn

import msgspec

from taskrig.odd_values import member_of, moment, seconds, task_id, trace_of

MAX_DEPTH = 500  # well under every interpreter's recursion limit, far above real payloads
MAX_TYPE_BYTES = 256
MAX_ID_BYTES = 512  # of a task that has a result or a state
EXPONENTS_FROM_BYTES, FEW_EXPONENTS = 4096, 200
_ROOM = 20  # levels that are left for what a value is put into
_TRACE = ("traceparent", "tracestate")  # W3C Trace Context
RECORD_RUN = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9]{1,15})")
_NOT_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"?|[^\[\]{}"]+', re.DOTALL)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Outcome(StrEnum):
    """What became of one delivery; a closed set."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"  # failed, and to be run again later
    RELEASED = "released"
    DEAD = "dead"
    INVALID = "invalid"
    DELAYED = "delayed"  # not run: its time has not come
    HELD = "held"  # not run: a limit of its type is reached


class Invalid(Exception):
    """This list item is not a task; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


REASONS = (  # of invalid items
    "empty",
    "too_large",
    "not_utf8",
    "bom",
    "too_deep",
    "not_json",
    "bad_number",
    "lone_surrogate",
    "not_an_object",
    "type_missing",
    "type_not_a_string",
    "type_empty",
    "type_too_long",
    "then_not_tasks",
    "too_many_follow_ups",
    "unknown_list",
)
FAILED_REASONS = ("error", "timeout", "rejected", "no_handler", "memory", "crashed", "result")
DEAD_REASONS = ("poison", "expired", "cancelled", "duplicate")


_ASKS = frozenset({"result_ttl", "then", "otherwise", "group"})
MAX_FOLLOW_UPS = 100  # of one end of a task


class Asks:
    """What a task asks for beyond its run, or may be asked for, as it has an id. `result_ttl_s`:
    how long its result is to be kept; None where it does not say. `then`, `otherwise`: the tasks
    that follow it when it has succeeded, or not. `member`: (group, number) of a member of one."""

    __slots__ = ("member", "otherwise", "result_ttl_s", "then")

    def __init__(self, fields: dict[str, Any], task_type: str) -> None:
        self.result_ttl_s = seconds("result_ttl", fields.get("result_ttl"), task_type)
        self.then = follow_ups(fields.get("then"))
        self.otherwise = follow_ups(fields.get("otherwise"))
        self.member = member_of(fields.get("group"), task_type)

    @property
    def passes_result(self) -> bool:
        """Whether a task that follows wants what this one returned."""
        return any(one.get("pass_result") is True for one in self.then)

    @property
    def lists(self) -> set[str]:
        """The lists, other than the queue's own, that tasks which follow are pushed to."""
        return {one["list"] for one in (*self.then, *self.otherwise) if "list" in one}


def follow_ups(given: Any) -> list[dict[str, Any]]:
    """The tasks in `then` or `otherwise`; raises Invalid."""
    if given is None:
        return []
    if type(given) is not list:
        raise Invalid("then_not_tasks")
    if len(given) > MAX_FOLLOW_UPS:
        raise Invalid("too_many_follow_ups")
    for one in given:
        if type(one) is not dict or _wrong_type(one) or type(one.get("list", "")) is not str:
            raise Invalid("then_not_tasks")
    return given


def _wrong_type(fields: dict[str, Any]) -> str:
    """Why the type of a task cannot be, one of REASONS; "" where it can."""
    kind = fields.get("type")
    if type(kind) is not str:
        return "type_missing" if "type" not in fields else "type_not_a_string"
    if not kind:
        return "type_empty"
    return "type_too_long" if len(kind.encode()) > MAX_TYPE_BYTES else ""


NOTHING = Asks({}, "")


class Task:
    """One decoded task: `type`, any JSON `data`, and the optional keys that we define.

    `fields` is the whole object with the producer's own keys, and with `data`, {} when absent.
    `run` is (run id, index) where the producer asks for a completion record;
    `enqueued_at` and `run_at` are in Unix seconds, or None; `trace` holds `traceparent` and
    `tracestate`, or is None. `asks` is None for a task without id that asks for nothing
    beyond its run.
    """

    __slots__ = ("asks", "data", "enqueued_at", "fields", "id", "run", "run_at", "trace", "type")

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.type: str = fields["type"]
        self.data: Any = fields.setdefault("data", {})
        self.run: tuple[str, str] | None = None
        self.enqueued_at: float | None = None
        self.run_at: float | None = None
        self.trace: dict[str, str] | None = None
        self.id: str | None = None
        self.asks: Asks | None = None
        if len(fields) > 2:
            self._read_options(fields)

    def _read_options(self, fields: dict[str, Any]) -> None:
        # Other keys are the producer's own: one of ours with a strange value is not an error.
        run = fields.get("run")
        if type(run) is str and (found := RECORD_RUN.fullmatch(run)):
            self.run = (found[1], found[2])
        at = fields.get("enqueued_at")
        if at is not None:
            self.enqueued_at = moment("enqueued_at", at, self.type)
        at = fields.get("run_at")
        if at is not None:
            self.run_at = moment("run_at", at, self.type)
        self.trace = trace_of(fields, _TRACE, self.type) or None
        given = fields.get("id")
        if given is not None:
            self.id = task_id(given, self.type)
            self.asks = NOTHING
        if not _ASKS.isdisjoint(fields):
            self.asks = Asks(fields, self.type)


def _refuse_constant(_: str) -> NoReturn:
    raise Invalid("bad_number")  # NaN, Infinity: no JSON


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Invalid("bad_number")
    return value


def _exact(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # more digits than the interpreter converts (4,300)
        raise Invalid("bad_number") from None


def parse_strictly(raw: bytes) -> Any:
    """JSON by RFC 8259 and I-JSON (RFC 7493): the reference that every codec must agree with.

    Raises:
        Invalid: with the reason.
    """
    if raw.startswith(b"\xef\xbb\xbf"):
        raise Invalid("bom")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("not_utf8") from None
    if not text.strip(" \t\r\n"):
        raise Invalid("empty")
    try:
        value = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_exact
        )
    except RecursionError:
        raise Invalid("too_deep") from None
    except ValueError:
        raise Invalid("not_json") from None
    if "\\" in text and _has_lone_surrogate(value):
        raise Invalid("lone_surrogate")
    return value


def _has_lone_surrogate(value: Any) -> bool:
    stack = [value]
    while stack:
        at = stack.pop()
        if isinstance(at, str):
            if _LONE_SURROGATE.search(at):
                return True
        elif isinstance(at, dict):
            stack.extend(at.keys())
            stack.extend(at.values())
        elif isinstance(at, list):
            stack.extend(at)
    return False


def deeper_than(raw: bytes, limit: int) -> bool:
    """Whether JSON is nested deeper than `limit` levels."""
    depth = 0
    for byte in _NOT_STRUCTURE.sub(b"", raw):
        if byte in b"[{":
            depth += 1
            if depth > limit:
                return True
        else:
            depth -= 1
    return False


def strict_json(value: Any) -> bytes:
    """A value as JSON, tuples as arrays, numbers exact.

    Raises:
        ValueError: it cannot be, and why.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        data = text.encode()
    except UnicodeEncodeError:
        raise ValueError("not JSON: a lone surrogate") from None
    except RecursionError:
        raise ValueError("nested too deep to be JSON") from None
    except Exception as fault:
        raise ValueError(f"not JSON: {str(fault)[:200]}") from None
    if deeper_than(data, MAX_DEPTH - _ROOM):
        raise ValueError("nested too deep to be JSON")
    return data


def json_again(value: Any) -> bytes:
    """What stood in a task, as JSON again: it was decoded, so nothing can be wrong with it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def make_decoder(parse: Callable[[bytes], Any]) -> Callable[[bytes], Task]:
    """A `decode` over the fast parser `parse`, which may refuse what is valid, never the reverse.

    What `parse` refuses is asked of the strict parser, whose word is final.
    """

    def decode(raw: bytes) -> Task:
        """The task in one list item.

        Raises:
            Invalid: it is not a task, and why.
        """
        if (
            len(raw) > MAX_DEPTH
            and raw.count(b"[") + raw.count(b"{") > MAX_DEPTH
            and deeper_than(raw, MAX_DEPTH)
        ):
            raise Invalid("too_deep")
        try:
            fields = parse(raw)
        except (ValueError, RecursionError):
            fields = parse_strictly(raw)
        if type(fields) is not dict:
            raise Invalid("not_an_object")
        kind = fields.get("type")
        # No character is longer than four bytes: short types need no encoding to be measured.
        if type(kind) is not str or not 0 < len(kind) <= MAX_TYPE_BYTES // 4:
            wrong = _wrong_type(fields)
            if wrong:
                raise Invalid(wrong)
        return Task(fields)

    return decode


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)  # the strict parser says why
    return number


_parse = msgspec.json.Decoder().decode
_parse_exponents = msgspec.json.Decoder(float_hook=_number).decode


def parse_fast(raw: bytes) -> Any:
    """JSON by msgspec; many exponents by way of Python's float.

    msgspec needs up to 30 us for a number like 1e300, which is seconds for an item of 1 MiB.
    """
    if len(raw) > EXPONENTS_FROM_BYTES and raw.count(b"e") + raw.count(b"E") > FEW_EXPONENTS:
        return _parse_exponents(raw)
    return _parse(raw)


decode = make_decoder(parse_fast)


class Delivery(msgspec.Struct):
    """One claim of one task, undecoded: `tag` names it, `deliveries` counts earlier claims that
    ended with their worker's death, `attempts` earlier failed runs that were to be retried.
    `returned`: it had been claimed before, and waited elsewhere than in the queue. `requeued_at`:
    Unix seconds at which it was requeued from the dead letters, 0 where it was not. `position`: how
    many had left the queue by then, itself included, at least; 0 where the broker was not asked."""

    tag: str
    raw: bytes
    deliveries: int = 0
    attempts: int = 0
    returned: bool = False
    requeued_at: float = 0.0
    position: int = 0


class Settlement(msgspec.Struct):
    """An outcome on its way to Redis.

    `record` is the completion record of a task that carries a run id, else "". `reason` holds the
    milliseconds to wait of one that is retried, the Unix milliseconds that a delayed one waits for.
    Of a held one `type` is the name in keys, `reason` the end of the list: front or back.
    `traceback`: of one that becomes a dead letter, where its handler was then, in lines.
    `leaves`: what it leaves behind, as exchange.lua takes it; empty where that is nothing.
    """

    tag: str
    outcome: Outcome
    type: str = ""
    reason: str = ""
    error: str = ""
    run: str = ""
    record: str = ""
    traceback: str = ""
    leaves: tuple[str | bytes | int, ...] = ()


class Begun(msgspec.Struct):
    """That a task runs now, on its way to Redis; for types with `track`. `ttl_s`: for how long its
    state is kept."""

    tag: str
    task_id: str
    ttl_s: int
