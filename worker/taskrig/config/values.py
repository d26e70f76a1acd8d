"""How what was written becomes a value: text takes the type that its setting has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic.fields import FieldInfo

from taskrig.places import Path, Text
from taskrig.task import MAX_TYPE_BYTES
from taskrig.texts import is_unicode
from taskrig.units import BYTES, SECONDS, Unit

MASK = "********"  # what stands for a secret in a printed configuration

_WHOLE = re.compile(r"[-+]?[0-9]{1,40}", re.ASCII)
_TRUTHS = dict.fromkeys(("true", "yes", "on", "1"), True)
_TRUTHS |= dict.fromkeys(("false", "no", "off", "0"), False)
_SENDER = re.compile(r"[^\s<>@]+@[^\s<>@]+|[^<>@]*<[^\s<>@]+@[^\s<>@]+>")
_TASK_LINES = re.compile(r"all|failures|none|([0-9]{1,2}(\.[0-9]{1,6})?|100(\.0{1,6})?)%")


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
    is_text = kind in (str, SecretStr)
    nothing = raw == "" if is_text else str(raw).strip().lower() in ("", "null", "none")
    if outside and nothing and info.default is None:
        return None
    if is_text or not isinstance(raw, str):
        return raw
    text = raw.strip()
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
        hide_input_in_errors=True,
        use_attribute_docstrings=True,  # they are the descriptions in the JSON Schema
    )

    @field_validator("*", mode="before")
    @classmethod
    def _typed(cls, raw: Any, info: Any) -> Any:
        return typed(raw, cls.model_fields[info.field_name])

    def settings(self, path: Path = ()) -> Iterator[tuple[Path, Any]]:
        """Every setting with its path; before those of a section, the section itself."""
        for name in type(self).model_fields:
            yield from _settings((*path, yaml_key(name)), getattr(self, name))


def _settings(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    yield path, value
    if isinstance(value, Section):
        yield from value.settings(path)
    for key, part in value.items() if isinstance(value, Mapping) else ():
        yield from _settings((*path, key), part)


def good(check: Callable[[str], object], says: str = "") -> AfterValidator:
    """Refuses text that `check` raises ValueError for, or answers no to: `says` what is right."""

    def checked(text: str) -> str:
        if not check(text):
            raise ValueError(says)
        return text

    return AfterValidator(checked)


def _host(text: str) -> str:
    if any(c.isspace() or not c.isprintable() for c in text) or "/" in text or text == "[]":
        raise ValueError("must be a host name or an address, such as 127.0.0.1")
    if text.count(":") == 1 or "]:" in text:
        raise ValueError("must be a host without port; the port is http.port")
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _is_host_port(text: str) -> bool:
    found = re.fullmatch(r"[^/@ ]+:([0-9]{1,5})", text)
    return found is not None and 1 <= int(found[1]) <= 65535


def _is_sender(text: str) -> bool:
    return text.isprintable() and _SENDER.fullmatch(text) is not None


def _secret(secret: SecretStr) -> SecretStr:
    if secret.get_secret_value() == MASK:
        raise ValueError("is the mask of a printed configuration; fill in the secret itself")
    if not is_unicode(secret.get_secret_value()):
        raise ValueError("must be text that UTF-8 can hold")
    return secret


def _long(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < 16:
        raise ValueError("must have at least 16 characters, such as `openssl rand -hex 16`")
    return secret


def _once(texts: tuple[str, ...]) -> tuple[str, ...]:
    names = [text.split()[0] for text in texts]  # the name of a line, or all of it
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"names {name} twice; keep one")
    return texts


Seconds = Annotated[float, SECONDS]
Bytes = Annotated[int, BYTES]
Line = Annotated[str, Field(min_length=0)]  # bounded, so pydantic sees what UTF-8 cannot hold
Word = Annotated[str, Field(min_length=1)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Host = Annotated[Word, AfterValidator(_host)]
LONG, ONCE = AfterValidator(_long), AfterValidator(_once)
HOST_PORT = good(_is_host_port, "must be host:port, such as sentinel-1:26379")
_LIKE = "no-reply@example.com or Shop <shop@example.com>"
SENDER = good(_is_sender, f"must be an address, such as {_LIKE}")
TASK_TYPE = good(
    lambda text: len(text.encode()) <= MAX_TYPE_BYTES,
    f"a task type has at most {MAX_TYPE_BYTES} bytes",
)
TASK_LINES = good(_TASK_LINES.fullmatch, "must be all, failures, none or a share such as 1%")
