"""Settings as they were written, before anything has been checked: values and where they stand.

Nothing here (nor in `document` and `layers`) needs pydantic, so that `worker healthcheck` starts
fast.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[\w.-]{1,64}")
_USERINFO = re.compile(r"(://)[^/\s]*@")
_QUERY_PASSWORD = re.compile(r"(?i)(passw(?:or)?d=)[^&\s]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Text(str):
    """Text from the environment, a flag or a ${VAR}: it has the type that its setting wants."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Odd:
    """A bare YAML 1.1 scalar that hardly anybody means as YAML reads it, such as 012 or 12:30."""

    text: str
    reading: str  # what YAML makes of it, with its article: "an octal number"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written."""

    where: str  # how a problem line begins: "config.yaml:4:3", "--max-concurrent"
    origin: str  # for `config show --origin`: "config.yaml:4", "flag --max-concurrent"
    text: str | None = None  # the scalar as written; None where it is a list or a mapping
    names: Path | None = None  # the setting that `where` already names


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and how to mend it."""

    where: str
    text: str
    path: Path | None = None

    def line(self) -> str:
        """The problem as its one line."""
        named = f"{dotted(self.path)}: " if self.path else ""
        return f"{self.where}: {named}{self.text}"


@dataclass(slots=True)
class Layer:
    """Settings of one source, nested by key, and the place of each."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)

    def put(self, path: Path, value: object, place: Place) -> None:
        """Set one value, making the sections that lead to it."""
        section = self.values
        for key in path[:-1]:
            section = section.setdefault(str(key), {})
            if not isinstance(section, dict):
                return  # the wrong kind of section is reported where it stands
        section[str(path[-1])] = value
        self.places[path] = place


def merged(lower: Layer, upper: Layer) -> Layer:
    """`lower` overlaid by `upper`, key by key; a list is replaced as a whole."""
    values = _merged(lower.values, upper.values)
    replaced = {path for path in upper.places if not isinstance(value_at(values, path), dict)}
    kept = {
        path: place
        for path, place in lower.places.items()
        if not any(path[: len(top)] == top for top in replaced)
    }
    return Layer(values, kept | upper.places)


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            result[key] = _merged(below, value)
        elif not (value is None and isinstance(below, dict)):  # an empty section changes nothing
            result[key] = value
    return result


def value_at(values: object, path: Path) -> object:
    """The value at `path`, None when there is none."""
    for key in path:
        if isinstance(values, dict):
            values = values.get(key)
        elif isinstance(values, list) and isinstance(key, int) and key < len(values):
            values = values[key]
        else:
            return None
    return values


def dotted(path: Path) -> str:
    """`path` as people write it: worker.max_concurrent, handlers[1]."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{shown_key(key)}"
    return text.removeprefix(".")


def shown_key(key: str) -> str:
    """A key fit for a problem line; one that is no plain word may hold a secret."""
    return key if _PLAIN_KEY.fullmatch(key) else "(?)"


def shown(text: str, *, limit: int = 60) -> str:
    """Written text on one line, cut, and without the password of any URL in it."""
    text = without_password(text)
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: limit + 1])
    return text if len(text) <= limit else text[:limit] + "..."


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it. Python keeps stray bytes of arguments, and JSON's halves of
    characters, as lone surrogates."""
    return _SURROGATE.search(text) is None


def without_password(text: str) -> str:
    """`text` with whatever stands where a URL has its user name and password masked."""
    return _QUERY_PASSWORD.sub(r"\1***", _USERINFO.sub(r"\1***@", text))


def setting_path(name: str) -> Path:
    """The path of a dotted name; a task type may itself hold dots (tasks.email.send.timeout)."""
    parts = tuple(name.split("."))
    if parts[0] == "tasks" and len(parts) > 3:
        return ("tasks", ".".join(parts[1:-1]), parts[-1])
    return parts
