"""Numbers with units as people write them: `250ms`, `2k/s`, `1KiB`. Pure."""

from __future__ import annotations

import math
import re

from taskrig.errors import UsageError

_DURATION_S = {
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_SCALE = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6}
_PER_S = {"": 1.0, "s": 1.0, "m": 1 / 60, "min": 1 / 60, "h": 1 / 3600}
_SIZE = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KiB": 1024, "MiB": 1024**2}
MAX_SIZE = 64 * 1024**2  # bytes; many tasks of a size are in memory at once
_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"


def duration_s(text: str, what: str = "duration") -> float:
    """Seconds from `250ms`, `30s`, `5m`, `1m30s`, `2h` or a bare number of seconds.

    Raises:
        UsageError: it is none of these, or not above 0.
    """
    parts = re.findall(rf"\s*{_NUMBER}\s*([a-zµ]*)", text)
    if not parts or not re.fullmatch(rf"(\s*{_NUMBER}\s*[a-zµ]*)+\s*", text):
        raise UsageError(f"{what}: {text!r} is no duration; write it like 250ms, 30s, 5m or 1m30s")
    if len(parts) > 1 and any(not unit for _, unit in parts):
        raise UsageError(f"{what}: {text!r} is no duration; give each part a unit, like 1m30s")
    total = 0.0
    for number, unit in parts:
        if unit not in _DURATION_S:
            raise UsageError(f"{what}: unknown unit {unit!r} in {text!r}; use us, ms, s, m, h or d")
        total += float(number) * _DURATION_S[unit]
    return _above_zero(total, text, what)


def rate_per_s(text: str, what: str = "rate") -> float:
    """Tasks a second from `500`, `500/s`, `2k/s`, `90/m` or `1.5M/h`.

    Raises:
        UsageError: it is none of these, or not above 0.
    """
    return _above_zero(rate_or_zero(text, what), text, what)


def rate_or_zero(text: str, what: str = "rate") -> float:
    """As `rate_per_s`, but 0 is allowed (a pause in a profile)."""
    match = re.fullmatch(rf"\s*{_NUMBER}\s*([kKM]?)\s*(?:/\s*([a-z]+))?\s*", text)
    if not match or (match[3] or "") not in _PER_S:
        raise UsageError(f"{what}: {text!r} is no rate; write it like 500, 500/s, 2k/s or 90/m")
    return float(match[1]) * _SCALE[match[2]] * _PER_S[match[3] or ""]


def size_bytes(text: str, what: str = "size") -> int:
    """Bytes from `512`, `1KiB`, `64KB` or `2MiB`.

    Raises:
        UsageError: it is none of these, or over MAX_SIZE.
    """
    match = re.fullmatch(rf"\s*{_NUMBER}\s*([A-Za-z]*)\s*", text)
    if not match or match[2] not in _SIZE:
        raise UsageError(f"{what}: {text!r} is no size; write it like 512, 1KiB or 2MiB")
    size = float(match[1]) * _SIZE[match[2]]
    if size > MAX_SIZE:
        raise UsageError(f"{what}: {text!r} is too large; at most {MAX_SIZE // 1024**2}MiB")
    return round(size)


def _above_zero(value: float, text: str, what: str) -> float:
    if not 0 < value < math.inf:
        raise UsageError(f"{what}: must be above 0, got {text!r}")
    return value


def show_s(seconds: float | None) -> str:
    """A duration for people, with a unit and three significant digits: `812 us`, `2.50 s`.

    A dash where it is not known.
    """
    if seconds is None or math.isnan(seconds):
        return "-"
    size = abs(seconds)
    if size < 0.0009995:
        return f"{seconds * 1e6:.0f} us"
    if size < 0.9995:
        return f"{_three(seconds * 1e3)} ms"
    if size < 119.5:
        return f"{_three(seconds)} s"
    whole = round(seconds)
    return f"{whole // 60}m{whole % 60:02d}s"


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
