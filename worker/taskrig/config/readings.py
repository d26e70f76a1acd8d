"""How what was written becomes a value: a class for each kind, used as pydantic metadata.

Each says in one line what would be right; `wording` adds where the value stands and what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from taskrig.config.raw import Text

REFERENCE = {"type": "string", "pattern": r"\$\{"}  # ${VAR} may stand for any value


def wrong(text: str) -> PydanticCustomError:
    """The error of a setting whose value will not do; `text` says what would be right."""
    return PydanticCustomError("setting", "{text}", {"text": text})


class Reading:
    """A kind of value: reads what was written, and describes itself to JSON Schema."""

    nothing: ClassVar[tuple[str, ...]] = ("", "null", "none")  # what means None in the environment

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
        if raw is None or (isinstance(raw, Text) and raw.strip().lower() in self.reading.nothing):
            return None
        return self.reading.read(raw)

    def schema(self) -> dict[str, Any]:
        """The value's schema, or null."""
        return {"anyOf": [self.reading.schema(), {"type": "null"}]}


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
        """A boolean, or a reference."""
        return {"anyOf": [{"type": "boolean"}, REFERENCE]}
