"""Optional keys of a task with values that cannot be what they must be: ignored, and said once.

A producer that writes milliseconds for seconds, or text for a number, should learn it from the
log, and not from a task that never expires. Each kind of mistake is one line in a process's life.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Any

log = logging.getLogger("taskrig.task")

EARLIEST = 1e9  # Unix seconds of 2001: what is smaller is a length of time, not a moment
_UNITS = {1e14: "milliseconds", 1e17: "microseconds", 1e20: "nanoseconds"}  # that is below
_FAR_S = {"enqueued_at": 86_400.0, "run_at": 366 * 86_400.0}  # ahead of our clock: worth a word
_IGNORED = {
    "enqueued_at": "it is ignored, so the wait is not measured and the task never expires by it",
    "run_at": "it is ignored, so the task runs as soon as it can",
    "id": "it is ignored, so the task has no id, and `unique` does not see it",
    "traceparent": "it is ignored, so the trace is not continued",
    "tracestate": "it is ignored",
    "group": "it is ignored, so no group waits for the task",
    "result_ttl": "it is ignored, so the type's result_ttl holds",
}
_USED = {
    "enqueued_at": "its wait counts as 0, and it expires late",
    "run_at": "the task waits until then",
}
_NAMES = {str: "text", bool: "true or false", list: "an array", dict: "an object"}
_MEMBER = re.compile(r"(.{1,256})/(0|[1-9][0-9]{0,5})", re.DOTALL)
_near = dict.fromkeys(_FAR_S, 0.0)  # Unix seconds up to which a moment needs no closer look
_said: set[tuple[str, str]] = set()


def moment(key: str, value: Any, task_type: str) -> float | None:
    """Unix seconds, where `value` can be that; `key` is enqueued_at or run_at."""
    kind = type(value)
    if (kind is float or kind is int) and EARLIEST <= value <= _near[key]:
        return float(value)
    return _looked_at(key, value, task_type)


def _looked_at(key: str, value: Any, task_type: str) -> float | None:
    now = time.time()
    _near[key] = now + _FAR_S[key]
    wrong = wrong_moment(value)
    must = f"it must be Unix seconds, such as {now:.0f}"
    if wrong:
        _say_once(key, wrong, value, task_type, f"{must}; {_IGNORED[key]}")
        return None
    if value < EARLIEST:  # as it may be in tests with a clock of their own
        _say_once(key, "before 2001", value, task_type, f"is it a length of time? {must}")
    elif value > _near[key]:
        ahead = f"{(value - now) / 86400:,.0f} days ahead of this worker's clock; {_USED[key]}"
        _say_once(key, "far ahead", value, task_type, ahead)
    return float(value)


def wrong_moment(value: Any) -> str:
    """What is wrong with it, one of a few; "" where it can be Unix seconds."""
    kind = type(value)
    if kind is not int and kind is not float:
        return _NAMES.get(kind, "no number")
    if value <= 0:
        return "not positive"
    if value < 1e11:
        return ""
    for below, unit in _UNITS.items():
        if value < below:
            return unit
    return "too large"


def task_id(value: Any, task_type: str) -> str | None:
    """The id as text, where `value` can be one."""
    wrong = wrong_id(value)
    if not wrong:
        return str(value)
    must = f"it must be text that is not empty, or a whole number; {_IGNORED['id']}"
    _say_once("id", wrong, value, task_type, must)
    return None


def wrong_id(value: Any) -> str:
    """What is wrong with it, one of a few; "" where it can be an id."""
    if type(value) is int or (type(value) is str and value):
        return ""
    return "empty" if value == "" else _NAMES.get(type(value), "a fraction")


def seconds(key: str, value: Any, task_type: str) -> float | None:
    """A length of time, where `value` can be one; None where it is not given."""
    wrong = wrong_seconds(value)
    if not wrong:
        return None if value is None else float(value)
    must = f"it must be a number of seconds from 0; {_IGNORED[key]}"
    _say_once(key, wrong, value, task_type, must)
    return None


def wrong_seconds(value: Any) -> str:
    """What is wrong with it, one of a few; "" where it can be a length of time, or is not given."""
    kind = type(value)
    if value is None or ((kind is int or kind is float) and 0 <= value < 1e12):
        return ""
    return _NAMES.get(kind) or ("negative" if value < 0 else "too large")


def member_of(value: Any, task_type: str) -> tuple[str, str] | None:
    """The group that a task is a member of, and its number there; None where it is of none."""
    if value is None:
        return None
    found = _MEMBER.fullmatch(value) if type(value) is str else None
    if found and len(found[1].encode()) <= 256:
        return found[1], found[2]
    wrong = _NAMES.get(type(value), "a number") if type(value) is not str else "another form"
    must = f'it must be "<group>/<number>", the group of 1 to 256 bytes; {_IGNORED["group"]}'
    _say_once("group", wrong, value, task_type, must)
    return None


def trace_of(fields: dict[str, Any], keys: tuple[str, ...], task_type: str) -> dict[str, str]:
    """The W3C trace context among these keys."""
    found = {}
    for key in keys:
        value = fields.get(key)
        if type(value) is str:
            found[key] = value
        elif value is not None:
            wrong = _NAMES.get(type(value), "a number")
            _say_once(key, wrong, value, task_type, f"it must be text; {_IGNORED[key]}")
    return found


def _say_once(key: str, wrong: str, value: Any, task_type: str, what: str) -> None:
    if (key, wrong) in _said:
        return
    _said.add((key, wrong))
    # A number may be shown; text could be anything.
    shown = f"{value!r:.40}, {wrong}" if type(value) in (int, float) else wrong
    log.warning(
        "a task of type %s has an odd %s (%s): %s (said only once)",
        ascii(task_type[:60]),
        key,
        shown,
        what,
    )
