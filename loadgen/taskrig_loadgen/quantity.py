"""Durations, rates and sizes of flags and files, with what is wrong named; and for people. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from taskrig import units
from taskrig.errors import UsageError

MAX_SIZE = 64 * 1024**2  # bytes; many tasks of a size are in memory at once

T = TypeVar("T")


def duration_s(text: str, what: str = "duration") -> float:
    """Seconds of a duration; `what` begins the error.

    Raises:
        UsageError: it is none, or not above 0.
    """
    return _above_zero(_read(units.duration_s, text, what), text, what)


def rate_per_s(text: str, what: str = "rate") -> float:
    """Tasks a second of a rate.

    Raises:
        UsageError: it is none, or not above 0.
    """
    return _above_zero(rate_or_zero(text, what), text, what)


def rate_or_zero(text: str, what: str = "rate") -> float:
    """As `rate_per_s`, but 0 is allowed (a pause in a profile)."""
    count, period_s = _read(units.rate, text, what)
    return count / period_s


def size_bytes(text: str, what: str = "size") -> int:
    """Bytes of a size.

    Raises:
        UsageError: it is none, or over MAX_SIZE.
    """
    size = _read(units.size_bytes, text, what)
    if size > MAX_SIZE:
        raise UsageError(f"{what}: {text!r} is too large; at most {units.size_text(MAX_SIZE)}")
    return size


def _read(read: Callable[[str], T], text: str, what: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from None


def _above_zero(value: float, text: str, what: str) -> float:
    if not 0 < value < math.inf:
        raise UsageError(f"{what}: must be above 0, got {text!r}")
    return value


def show_s(seconds: float | None) -> str:
    """A duration for people, with a unit and three significant digits: `812 us`, `2.50 s`.

    A dash where it is not known.
    """
    if seconds is None or not math.isfinite(seconds):
        return "-"
    size = abs(seconds)
    if size < 0.0009995:
        return f"{seconds * 1e6:.0f} us"
    if size < 0.9995:
        return f"{_three(seconds * 1e3)} ms"
    if size < 119.5:
        return f"{_three(seconds)} s"
    whole = round(size)
    return f"{'-' * (seconds < 0)}{whole // 60}m{whole % 60:02d}s"


def axis_s(seconds: float) -> str:
    """A duration as a mark on an axis: `0`, `10 ms`, `2.5 s`."""
    if seconds == 0:
        return "0"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(seconds) >= size * 0.9999:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e6:.4g} us"


def _three(value: float) -> str:
    """Three significant digits, trailing zeros kept: `2.50`, `12.3`, `504`."""
    size = abs(value)
    return f"{value:.2f}" if size < 9.995 else f"{value:.1f}" if size < 99.95 else f"{value:.0f}"


def show_rate(per_s: float) -> str:
    """A rate for people: `12.3/s`, `4,870/s`."""
    return f"{per_s:,.0f}/s" if per_s >= 100 else f"{per_s:.3g}/s"
