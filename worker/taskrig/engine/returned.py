"""What a handler returned, as JSON of a size that Redis can keep."""

from __future__ import annotations

from typing import Any

from taskrig.task import strict_json


class Unkeepable(Exception):
    """The value is not JSON, or too large; its text says why."""


def json_of(value: Any, most_bytes: int) -> bytes:
    """The value as JSON; raises Unkeepable where it cannot be kept."""
    try:
        data = strict_json(value)
    except ValueError as fault:
        raise Unkeepable(f"the returned value is {fault}") from None
    if len(data) > most_bytes:
        raise Unkeepable(
            f"the returned value has {len(data)} bytes as JSON; results.max_bytes is {most_bytes}"
        )
    return data
