"""Numbers with and without a unit: counts, durations in seconds, sizes in bytes."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from taskrig import units
from taskrig.config.raw import Odd, Text
from taskrig.config.readings import REFERENCE, Reading, wrong


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
            raise wrong(f"must be at least {units.duration_text(self.least)}")
        if self.most is not None and seconds > self.most:
            raise wrong(f"must be at most {units.duration_text(self.most)}")
        return seconds

    def _parsed(self, raw: Any) -> float:
        if isinstance(raw, str):
            with suppress(ValueError):
                if _has_unit(raw):
                    return units.duration_s(raw)
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
        text = {
            "type": "string",
            "pattern": r"^([0-9]+(\.[0-9]+)?\s*(us|ms|s|m|min|h|d)\s*)+$|\$\{",
        }
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
            raise wrong(f"must be at least {units.size_text(self.least)}")
        if self.most is not None and size > self.most:
            raise wrong(f"must be at most {units.size_text(self.most)}")
        return size

    def _parsed(self, raw: Any) -> int:
        if isinstance(raw, str):
            with suppress(ValueError):
                if _has_unit(raw):
                    return units.size_bytes(raw)
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise wrong("must be a size such as 64KiB or 1MiB, or a whole number of bytes")
        return raw

    def schema(self) -> dict[str, Any]:
        """A number of bytes, or text with a unit."""
        text = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([KMG]iB|[kKMG]?B)$|\$\{"}
        return {"anyOf": [{"type": "integer", "minimum": self.least}, text]}


def _has_unit(written: str) -> bool:
    """Whether its unit is known: a bare number in quotes may be a mistake, one outside YAML not."""
    return isinstance(written, Text) or written.rstrip()[-1:].isalpha()
