"""Texts, secrets, choices and lists of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

from taskrig.config.raw import Odd, Text, is_unicode
from taskrig.config.readings import REFERENCE, Reading, wrong

MASK = "********"  # what stands for a secret in a printed configuration


@dataclass(frozen=True, slots=True)
class Words(Reading):
    """Text that is not empty; `check` may refuse or change it."""

    check: Callable[[str], str] | None = None
    nothing: ClassVar[tuple[str, ...]] = ("",)

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

    nothing: ClassVar[tuple[str, ...]] = ("",)

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
        """An enumeration, or a reference."""
        return {"anyOf": [{"enum": list(self.choices)}, REFERENCE]}


@dataclass(frozen=True, slots=True)
class Several(Reading):
    """A list of texts, or one; commas part them in the environment and in flags.

    No two may have the same `name`, which is the text itself by default.
    """

    check: Callable[[str], str]
    least: int = 0
    name: Callable[[str], str] = str

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
        names = [self.name(text) for text in texts]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise wrong(f"names {name} twice; keep one")
        return texts

    def schema(self) -> dict[str, Any]:
        """A list of strings, or one string."""
        items = {"type": "array", "items": {"type": "string"}, "minItems": self.least}
        return {"anyOf": [{"type": "string"}, items]}


def as_text(raw: Any) -> str:
    """`raw` where text is expected; raises `wrong` for what YAML 1.1 takes for something else."""
    if isinstance(raw, str):
        if not is_unicode(raw):
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
