"""How the text of a setting becomes a value: one class for each kind, as pydantic metadata.

Each says in one line what would be right; `wording` adds where the value stands and what it was.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from worker.config.raw import Odd, Text

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|m|h|d)?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(B|KiB|MiB|GiB|kB|KB|MB|GB)?")
MASK = "********"  # what stands for a secret in a printed configuration
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SURROGATE = re.compile("[\ud800-\udfff]")
_BYTES = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}


def wrong(text: str) -> PydanticCustomError:
    """The error of a setting whose value will not do; `text` says what would be right."""
    return PydanticCustomError("setting", "{text}", {"text": text})


class Reading:
    """A kind of value: reads what was written, and describes itself to JSON Schema."""

    def read(self, raw: Any) -> Any:
        """The value of what was written; raises `wrong`."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of what may be written in YAML."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.schema()


@dataclass(frozen=True, slots=True)
class OrNone(Reading):
    """A value that may be left out: null in YAML, empty or null in the environment."""

    reading: Reading

    def read(self, raw: Any) -> Any:
        """None, or the value."""
        if raw is None or (isinstance(raw, Text) and raw.strip().lower() in self._nothing()):
            return None
        return self.reading.read(raw)

    def _nothing(self) -> tuple[str, ...]:
        return ("",) if isinstance(self.reading, Words | Secret) else ("", "null", "none")

    def schema(self) -> dict[str, Any]:
        """The value's schema, or null."""
        return {"anyOf": [self.reading.schema(), {"type": "null"}]}


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
        """An integer with its bounds."""
        bounds = {"minimum": self.least}
        if self.most is not None:
            bounds["maximum"] = self.most
        return {"type": "integer", **bounds}


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


@dataclass(frozen=True, slots=True)
class YesNo(Reading):
    """True or false."""

    def read(self, raw: Any) -> bool:
        """The truth; words for it only from the environment and flags."""
        if isinstance(raw, Text):
            word = raw.strip().lower()
            if word in ("true", "yes", "on", "1"):
                return True
            if word in ("false", "no", "off", "0"):
                return False
        if not isinstance(raw, bool):
            raise wrong("must be true or false")
        return raw

    def schema(self) -> dict[str, Any]:
        """A boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Words(Reading):
    """Text that is not empty; `check` may refuse or change it."""

    check: Callable[[str], str] | None = None
    description: str | None = None

    def read(self, raw: Any) -> str:
        """The text, as a plain str."""
        text = str(as_text(raw))
        if not text:
            raise wrong("must not be empty")
        return self.check(text) if self.check else text

    def schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True)
class Secret(Reading):
    """Text that is never shown."""

    def read(self, raw: Any) -> SecretStr:
        """The secret, wrapped so that it cannot be printed by accident."""
        if isinstance(raw, SecretStr):
            return raw
        text = str(as_text(raw))
        if text == MASK:
            raise wrong("is the mask of a printed configuration; fill in the secret itself")
        return SecretStr(text)

    def schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "writeOnly": True}


class Choice(Reading):
    """One of a few words."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    def read(self, raw: Any) -> str:
        """The word."""
        text = str(as_text(raw))
        if text not in self.choices:
            raise wrong(f"must be {either(self.choices)}")
        return text

    def schema(self) -> dict[str, Any]:
        """An enumeration."""
        return {"enum": list(self.choices)}


@dataclass(frozen=True, slots=True)
class Several(Reading):
    """A list of texts, or one; commas part them in the environment and in flags."""

    check: Callable[[str], str]
    least: int = 0

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Item by item, so that each wrong one is reported, with its place."""
        item = core_schema.no_info_plain_validator_function(self._item)
        items = core_schema.no_info_before_validator_function(
            self._items, core_schema.list_schema(item)
        )
        as_list = core_schema.plain_serializer_function_ser_schema(list)
        return core_schema.no_info_after_validator_function(self.read, items, serialization=as_list)

    def _items(self, raw: Any) -> list[Any]:
        if isinstance(raw, Text):
            return [Text(item.strip()) for item in raw.split(",") if item.strip()]
        return list(raw) if isinstance(raw, list | tuple) else [raw]

    def _item(self, raw: Any) -> str:
        return self.check(str(as_text(raw)))

    def read(self, raw: Any) -> tuple[str, ...]:
        """The checked texts, in order; each may be there once."""
        texts = tuple(raw)
        if len(texts) < self.least:
            raise wrong("must name at least one")
        for index, text in enumerate(texts):
            if text in texts[:index]:
                raise wrong(f"names {text} twice; keep one")
        return texts

    def schema(self) -> dict[str, Any]:
        """A list of strings, or one string."""
        items = {"type": "array", "items": {"type": "string"}, "minItems": self.least}
        return {"anyOf": [{"type": "string"}, items]}


def as_text(raw: Any) -> str:
    """`raw` where text is expected; raises `wrong` for what YAML 1.1 takes for something else."""
    if isinstance(raw, str):
        if _SURROGATE.search(raw):
            raise wrong("must be text that UTF-8 can hold")
        return raw
    if isinstance(raw, Odd):
        raise wrong(f"must be text; YAML reads this as {raw.reading}: quote it")
    if raw is None:
        raise wrong("must be text; YAML reads this as nothing: fill it in, or quote it")
    if isinstance(raw, bool):
        raise wrong("must be text; YAML reads this as true or false: quote it")
    if isinstance(raw, int | float):
        raise wrong("must be text; YAML reads this as a number: quote it")
    raise wrong("must be text")


def either(choices: Sequence[str]) -> str:
    """Choices as prose: "a, b or c"."""
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


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
