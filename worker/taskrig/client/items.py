"""Tasks as producers make them: what a worker would refuse or ignore is refused here already."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from taskrig.odd_values import EARLIEST, wrong_id, wrong_moment, wrong_seconds
from taskrig.task import MAX_ID_BYTES, Invalid, decode

Default = Callable[[Any], Any]
_MOMENTS = ("enqueued_at", "run_at")
_MUST = "Unix seconds such as 1767225600, or a datetime with a time zone"
_FARTHEST_S = 1e10  # a delay of 300 years


def task(
    type: str,  # noqa: A002 - public
    data: Any = None,
    *,
    id: str | int | None = None,  # noqa: A002 - public
    delay: float | timedelta | None = None,
    run_at: float | datetime | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """One task as a dict, as docs/protocol.md has it; see `Queue.enqueue`."""
    made: dict[str, Any] = {"type": type, "data": {} if data is None else data}
    if id is not None:
        made["id"] = id
    if delay is not None and run_at is not None:
        raise ValueError("give delay or run_at, not both")
    if delay is not None:
        made["run_at"] = time.time() + _seconds(delay)
    if run_at is not None:
        made["run_at"] = run_at
    return made | keys


class Item(NamedTuple):
    """What is pushed: `raw` is the JSON."""

    id: str
    raw: bytes
    type: str


def item_of(given: Mapping[str, Any], most_bytes: int, default: Default | None = None) -> Item:
    """The item of a task; an id and `enqueued_at` are added where it has none.

    Raises:
        ValueError: a worker would refuse it as invalid, or ignore one of its optional keys.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"a task must be a dict with a type, not {_name(given)}")
    made = {name: value for name, value in given.items() if value is not None or name == "data"}
    made.setdefault("id", secrets.token_hex(12))
    made.setdefault("enqueued_at", time.time())
    if wrong := wrong_id(made["id"]):
        raise ValueError(f"id must be text that is not empty, or a whole number ({wrong})")
    if wrong := wrong_seconds(made.get("result_ttl")):
        raise ValueError(
            f"result_ttl must be seconds from 0, not {made['result_ttl']!r:.60} ({wrong})"
        )
    if "result_ttl" in made and len(str(made["id"]).encode(errors="replace")) > MAX_ID_BYTES:
        raise ValueError(f"no result is kept under an id of more than {MAX_ID_BYTES} bytes")
    for name in _MOMENTS:
        if name in made:
            made[name] = _moment(name, made[name])
    item = _encoded(made, default)
    if len(item) > most_bytes:
        raise ValueError(
            f"this task has {len(item):,} bytes, more than queue.max_item_bytes ({most_bytes:,})"
        )
    return Item(str(made["id"]), item, made["type"])


def _encoded(made: Mapping[str, Any], default: Default | None) -> bytes:
    """As JSON; a worker's own decoder has the last word."""
    try:
        text = json.dumps(
            made, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default
        )
        item = text.encode()
        decode(item)
    except Invalid as fault:
        raise ValueError(f"this would not be a task: {fault.reason}") from None
    except UnicodeEncodeError:
        raise ValueError("this would not be a task: lone_surrogate") from None
    except RecursionError:
        raise ValueError("this would not be a task: too_deep") from None
    except (TypeError, ValueError) as fault:
        raise ValueError(f"this would not be a task: {fault}") from None
    return item


def _moment(name: str, value: Any) -> float:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} is a datetime without a time zone; it must be {_MUST}")
        value = value.timestamp()
    wrong = "not finite" if _is_odd_float(value) else wrong_moment(value)
    if wrong:
        raise ValueError(f"{name} must be {_MUST}, not {value!r:.60} ({wrong})")
    if value < EARLIEST:
        raise ValueError(f"{name} is before 2001: is it a length of time? It must be {_MUST}")
    return float(value)


def _seconds(delay: float | timedelta) -> float:
    value = delay.total_seconds() if isinstance(delay, timedelta) else delay
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < _FARTHEST_S:  # NaN too
        raise ValueError(f"delay must be seconds from 0, or a timedelta, not {delay!r:.60}")
    return float(value)


def _is_odd_float(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _name(value: Any) -> str:
    return type(value).__name__
