"""Numbers with and without a unit: counts, durations in seconds, sizes in bytes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from taskrig.config.raw import Odd, Text
from taskrig.config.readings import REFERENCE, Reading, wrong

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|m|h|d)?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(B|KiB|MiB|GiB|kB|KB|MB|GB)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_BYTES |= {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True, slots=True)
class Whole(Reading):
    """A whole number."""

    least: int
    most: int | None = None

    def read(self, raw: Any) -> int:
        """The number; text only from the environment and flags."""
        if isinstance(raw, Text) and re.fullmatch(r"\s*[-+]?[0-9]{1,40}\s*", raw, re.ASCII):
            raw = int(raw)
        if isinstance(raw, str) and not isinstance(raw, Text) and raw.strip().isdecimal():
            raise wrong("must be a whole number without quotes")
        if isinstance(raw, Odd):
            raise wrong(f"must be a whole number in decimal; YAML reads this as {raw.reading}")
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise wrong("must be a whole number")
        if raw < self.least:
            raise wrong(f"must be at least {self.least}")
        if self.most is not None and raw > self.most:
            raise wrong(f"must be at most {self.most}")
        return raw

    def schema(self) -> dict[str, Any]:
        """An integer with its bounds, or a reference."""
        number: dict[str, Any] = {"type": "integer", "minimum": self.least}
        if self.most is not None:
            number["maximum"] = self.most
        return {"anyOf": [number, REFERENCE]}


@dataclass(frozen=True, slots=True)
class Seconds(Reading):
    """A duration: a bare number of seconds, or one number with ms, s, m, h or d."""

    least: float = 0.0
    most: float | None = None
    zero: bool = True  # whether 0 itself will do

    def read(self, raw: Any) -> float:
        """The duration in seconds, finite."""
        seconds = self._parsed(raw)
        if not self.zero and seconds <= 0:
            raise wrong("must be more than 0 seconds")
        if seconds < self.least:
            raise wrong(f"must be at least {duration(self.least)}")
        if self.most is not None and seconds > self.most:
            raise wrong(f"must be at most {duration(self.most)}")
        return seconds

    def _parsed(self, raw: Any) -> float:
        if isinstance(raw, str):
            text = raw.strip()
            sign = -1 if text.startswith("-") else 1
            match = _DURATION.fullmatch(text.removeprefix("-"))
            if match and (match[2] or isinstance(raw, Text)):
                return sign * float(match[1]) * _SECONDS[match[2] or "s"]
        if isinstance(raw, Odd):
            raise wrong(
                f"must be a duration such as 250ms, 15s or 5m; YAML reads this as {raw.reading}"
            )
        number = isinstance(raw, int | float) and not isinstance(raw, bool)
        if not number or (isinstance(raw, float) and not math.isfinite(raw)):
            raise wrong("must be a duration such as 250ms, 15s or 5m, or a number of seconds")
        return min(float(raw), 1e300)

    def schema(self) -> dict[str, Any]:
        """A number of seconds, or text with a unit."""
        text = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$|\$\{"}
        return {"anyOf": [{"type": "number", "minimum": self.least}, text]}


@dataclass(frozen=True, slots=True)
class Size(Reading):
    """A number of bytes, bare or with KiB, MiB, GiB (1024) or kB, MB, GB (1000)."""

    least: int = 1
    most: int | None = None

    def read(self, raw: Any) -> int:
        """The size in bytes."""
        size = self._parsed(raw)
        if size < self.least:
            raise wrong(f"must be at least {size_text(self.least)}")
        if self.most is not None and size > self.most:
            raise wrong(f"must be at most {size_text(self.most)}")
        return size

    def _parsed(self, raw: Any) -> int:
        if isinstance(raw, str):
            match = _SIZE.fullmatch(raw.strip())
            if match and len(match[1]) < 20 and (match[2] or isinstance(raw, Text)):
                size = float(match[1]) * _BYTES[match[2] or "B"]
                if size.is_integer():
                    return int(size)
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise wrong("must be a size such as 64KiB or 1MiB, or a whole number of bytes")
        return raw

    def schema(self) -> dict[str, Any]:
        """A number of bytes, or text with a unit."""
        text = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([KMG]iB|[kKMG]?B)$|\$\{"}
        return {"anyOf": [{"type": "integer", "minimum": self.least}, text]}


def duration(seconds: float) -> str:
    """`seconds` as config.yaml has it: 250ms, 15s, 5m, 1h."""
    for unit in ("h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    if 0 < seconds < 1 and (seconds * 1000).is_integer():
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds!r}s" if seconds else "0s"


def size_text(size: int) -> str:
    """`size` in bytes as config.yaml has it: 64KiB, 1MiB."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"
