"""Durations, sizes and rates as people write them, in both programs. Pure.

| kind | examples |
|---|---|
| duration | `250ms`, `15s`, `1m30s`, `10min`, `2h`, `1d`; a bare number is seconds |
| size | `64KiB`, `1GiB` (1024), `64kB`, `1GB` (1000); a bare number is bytes |
| rate | `100/s`, `5/10s`, `600/m`, `2k/s`; a bare number is per second |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0}
_SECONDS |= {"h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_BYTES |= {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_SCALE = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6}

_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_BARE = re.compile(_NUMBER)
_PART = re.compile(rf"{_NUMBER}\s*([a-zµ]+)\s*")
_SIZE = re.compile(rf"{_NUMBER}\s*([A-Za-z]*)")
_RATE = re.compile(rf"{_NUMBER}\s*([kKM]?)\s*(?:/\s*{_NUMBER}?\s*([a-z]+))?")


def duration_s(text: str) -> float:
    """Seconds; negative where a minus stands in front.

    Raises:
        ValueError: it is not a duration; the message says what would be right.
    """
    written = text.strip()
    sign = -1 if written.startswith("-") else 1
    written = written.removeprefix("-")
    if _BARE.fullmatch(written):
        return sign * float(written)
    seconds, end = 0.0, 0
    while part := _PART.match(written, end):
        if part[2] not in _SECONDS:
            raise ValueError(f"unknown unit {part[2]!r} in {text!r}; use us, ms, s, m, h or d")
        seconds += float(part[1]) * _SECONDS[part[2]]
        end = part.end()
    if not end:
        raise ValueError(f"{text!r} is not a duration; write it like 250ms, 30s, 5m or 1m30s")
    if end < len(written):
        raise ValueError(f"{text!r} is not a duration; give each part a unit, like 1m30s")
    return sign * seconds


def size_bytes(text: str) -> int:
    """Bytes, a whole number of them.

    Raises:
        ValueError: it is not a size; the message says what would be right.
    """
    found = _SIZE.fullmatch(text.strip())
    if found and found[2] in _BYTES:
        size = float(found[1]) * _BYTES[found[2]]
        if size.is_integer():
            return int(size)
    raise ValueError(f"{text!r} is not a size; write it like 512, 1KiB or 2MiB")


def rate(text: str) -> tuple[float, float]:
    """How many in how many seconds: (5.0, 10.0) from `5/10s`, (500.0, 1.0) from `500`.

    Raises:
        ValueError: it is not a rate; the message says what would be right.
    """
    found = _RATE.fullmatch(text.strip())
    period_s = 0.0
    if found:
        times, unit = found[3] or "1", found[4] or "s"
        period_s = float(times) * _SECONDS.get(unit, 0.0)
    if not found or not period_s:
        raise ValueError(f"{text!r} is not a rate; write it like 500, 500/s, 2k/s, 90/m or 5/10s")
    return float(found[1]) * _SCALE[found[2]], period_s


def duration_text(seconds: float) -> str:
    """`seconds` with a unit, as `duration_s` reads it: 250ms, 15s, 5m, 1h."""
    for unit in ("h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    if 0 < seconds < 1 and (seconds * 1000).is_integer():
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds!r}s" if seconds else "0s"


def size_text(size: int) -> str:
    """`size` in bytes with a unit, as `size_bytes` reads it: 64KiB, 1MiB."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts: how it is read, how it is shown, and what it looks like."""

    read: Callable[[str], float]
    text: Callable[[Any], str]
    like: str
    pattern: str  # of text with a unit, in the JSON Schema of config.yaml

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": self.pattern}]}


SECONDS = Unit(
    duration_s,
    duration_text,
    "a duration such as 250ms, 15s or 5m, or a number of seconds",
    r"^([0-9]*\.?[0-9]+\s*(us|ms|s|m|min|h|d)\s*)+$",
)
BYTES = Unit(
    size_bytes,
    size_text,
    "a size such as 64KiB or 1MiB, or a whole number of bytes",
    r"^[0-9]*\.?[0-9]+\s*([KMG]iB|[kKMG]?B)$",
)
