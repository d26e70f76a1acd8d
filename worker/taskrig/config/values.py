"""How what was written becomes a value: text takes the type that its setting has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic.fields import FieldInfo

from taskrig import units
from taskrig.authoring.importing import checked_name
from taskrig.authoring.options import rate
from taskrig.config.redis_url import checked
from taskrig.config.sources import Text
from taskrig.cron import parse_line
from taskrig.lists import weighted
from taskrig.task import MAX_TYPE_BYTES
from taskrig.texts import is_unicode

MASK = "********"  # what stands for a secret in a printed configuration
DAY = 86400

_WHOLE = re.compile(r"[-+]?[0-9]{1,40}", re.ASCII)
_TRUTHS = dict.fromkeys(("true", "yes", "on", "1"), True)
_TRUTHS |= dict.fromkeys(("false", "no", "off", "0"), False)
_SENDER = r"[^\s<>@]+@[^\s<>@]+|[^<>@]*<[^\s<>@]+@[^\s<>@]+>"
_TASK_LINES = r"all|failures|none|([0-9]{1,2}(\.[0-9]{1,6})?|100(\.0{1,6})?)%"


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts: how it is read, how it is shown, and what it looks like."""

    read: Callable[[str], float]
    text: Callable[[Any], str]
    like: str
    pattern: str

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": self.pattern}]}


SECONDS = Unit(
    units.duration_s,
    units.duration_text,
    "a duration such as 250ms, 15s or 5m, or a number of seconds",
    r"^([0-9]*\.?[0-9]+\s*(us|ms|s|m|min|h|d)\s*)+$",
)
BYTES = Unit(
    units.size_bytes,
    units.size_text,
    "a size such as 64KiB or 1MiB, or a whole number of bytes",
    r"^[0-9]*\.?[0-9]+\s*([KMG]iB|[kKMG]?B)$",
)


def typed(raw: Any, info: FieldInfo) -> Any:
    """What was written as its field wants it, where that is plain; else as it is.

    Text from outside the file may be any value; of text in the file, numbers with a unit are read.
    """
    kind, unit = kind_of(info)
    outside = isinstance(raw, Text)
    if get_origin(kind) is tuple:
        if outside:
            return tuple(Text(item.strip()) for item in raw.split(",") if item.strip())
        return tuple(raw) if isinstance(raw, list | tuple) else (raw,)
    text = raw.strip() if isinstance(raw, str) else ""
    is_text = kind in (str, SecretStr)
    nothing = not raw or (not is_text and text.lower() in ("", "null", "none"))
    if outside and nothing and info.default is None:
        return None
    if is_text or not isinstance(raw, str):
        return raw
    if unit:
        return _quantity(text, unit, bare=outside)
    if kind is int and _WHOLE.fullmatch(text):
        if outside:
            return int(text)
        if text[0] != "0":
            raise ValueError("must be a whole number without quotes")
    return _TRUTHS.get(text.lower(), raw) if kind is bool else raw


def _quantity(text: str, unit: Unit, *, bare: bool) -> float:
    try:
        if bare or text[-1:].isalpha():  # a bare number in quotes may be a mistake
            return unit.read(text)
    except ValueError:
        pass
    raise ValueError(f"must be {unit.like}")


def kind_of(info: FieldInfo) -> tuple[Any, Unit | None]:
    """The type of a field that may be none, and what its number counts."""
    kind, metadata = info.annotation, info.metadata
    if NoneType in get_args(kind):
        kind = next(one for one in get_args(kind) if one is not NoneType)
        if get_origin(kind) is Annotated:
            kind, *metadata = get_args(kind)
    return kind, next((one for one in metadata if isinstance(one, Unit)), None)


def yaml_key(name: str) -> str:
    """The key in YAML of a field: its name without the unit."""
    return name.removesuffix("_s")


class Section(BaseModel):
    """Settings that belong together; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        alias_generator=yaml_key,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,  # they are the descriptions in the JSON Schema
    )

    @field_validator("*", mode="before")
    @classmethod
    def _typed(cls, raw: Any, info: Any) -> Any:
        return typed(raw, cls.model_fields[info.field_name])


def _host(text: str) -> str:
    if any(c.isspace() or not c.isprintable() for c in text) or "/" in text or text == "[]":
        raise ValueError("must be a host name or an address, such as 127.0.0.1")
    if text.count(":") == 1 or "]:" in text:
        raise ValueError("must be a host without port; the port is http.port")
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _host_port(text: str) -> bool:
    found = re.fullmatch(r"[^/@ ]+:([0-9]{1,5})", text)
    return found is not None and 1 <= int(found[1]) <= 65535


def _is_short(task_type: str) -> bool:
    return len(task_type.encode()) <= MAX_TYPE_BYTES


def _secret(secret: SecretStr) -> SecretStr:
    if secret.get_secret_value() == MASK:
        raise ValueError("is the mask of a printed configuration; fill in the secret itself")
    if not is_unicode(secret.get_secret_value()):
        raise ValueError("must be text that UTF-8 can hold")
    return secret


def _once(texts: tuple[str, ...]) -> tuple[str, ...]:
    names = [text.split()[0] for text in texts]  # the name of a line, or all of it
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"names {name} twice; keep one")
    return texts


def _read_by(parse: Callable[[str], object], says: str = "") -> AfterValidator:
    """Refuses what `parse` raises for, or answers no to, and then `says` what would be right."""

    def check(text: str) -> str:
        if not parse(text):
            raise ValueError(says)
        return text

    return AfterValidator(check)


def _like(pattern: str, says: str) -> AfterValidator:
    return _read_by(lambda text: text.isprintable() and re.fullmatch(pattern, text), says)


Seconds = Annotated[float, SECONDS]
Bytes = Annotated[int, BYTES]
Line = Annotated[str, Field(min_length=0)]  # bounded, so pydantic sees what UTF-8 cannot hold
Word = Annotated[str, Field(min_length=1)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
RedisUrl = Annotated[Word, _read_by(checked)]
Host = Annotated[Word, AfterValidator(_host)]
HostPort = Annotated[Line, _read_by(_host_port, "must be host:port, such as sentinel-1:26379")]
Sender = Annotated[
    Word,
    _like(_SENDER, "must be an address, such as no-reply@example.com or Shop <shop@example.com>"),
]
HandlerName = Annotated[Line, _read_by(checked_name)]
TaskType = Annotated[
    Word,
    _read_by(
        lambda text: len(text.encode()) <= MAX_TYPE_BYTES, "a task type has at most 256 bytes"
    ),
]
TaskLines = Annotated[Word, _like(_TASK_LINES, "must be all, failures, none or a share such as 1%")]
Rate = Annotated[Word, _read_by(rate)]
QueueList = Annotated[Line, _read_by(weighted)]
ScheduleLine = Annotated[Line, _read_by(parse_line)]
ONCE = AfterValidator(_once)
