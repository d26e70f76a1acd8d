"""What a handler returned, as JSON: strict, and of a size that Redis can keep."""

from __future__ import annotations

import json
from typing import Any

from taskrig.task import MAX_DEPTH, deeper_than

ROOM = 20  # levels that are left for what the JSON is put into


class Unkeepable(Exception):
    """The value is not JSON, or too large; its text says why."""


def json_of(value: Any, most_bytes: int) -> bytes:
    """The value as JSON, with tuples as arrays and numbers exact.

    Raises:
        Unkeepable: it cannot be kept.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        data = text.encode()
    except UnicodeEncodeError:
        raise Unkeepable("the returned value is not JSON: a lone surrogate") from None
    except RecursionError:
        raise Unkeepable("the returned value is nested too deep to be JSON") from None
    except Exception as fault:
        raise Unkeepable(f"the returned value is not JSON: {str(fault)[:200]}") from None
    if len(data) > most_bytes:
        raise Unkeepable(
            f"the returned value has {len(data)} bytes as JSON; results.max_bytes is {most_bytes}"
        )
    if deeper_than(data, MAX_DEPTH - ROOM):
        raise Unkeepable("the returned value is nested too deep to be JSON")
    return data
