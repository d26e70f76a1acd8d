"""What was written where, and what is wrong with it: the words of both programs' error lines.

Nothing here needs pydantic or PyYAML: `worker healthcheck` and `--help` start fast.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[\w.-]{1,64}")


class Text(str):
    """Text from the environment, a flag or a ${VAR}: it has the type that its setting wants."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and how to mend it."""

    where: str
    text: str
    path: Path | None = None

    def line(self) -> str:
        """The problem as its one line."""
        return f"{self.where}: {dotted(self.path) + ': ' if self.path else ''}{self.text}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written."""

    where: str  # how a problem line begins: "config.yaml:4:3", "--max-concurrent"
    origin: str  # for `config show --origin`: "config.yaml:4", "flag --max-concurrent"
    text: str | None = None  # the scalar as written; None where it is a list or a mapping
    names: Path | None = None  # the setting that `where` already names

    def problem(self, path: Path, text: str) -> Problem:
        """What is wrong with the setting `path`, which is named unless the place names it."""
        return Problem(self.where, text, None if self.names == path else path)


@dataclass(frozen=True, slots=True)
class Written:
    """A value as written, of a setting or of a whole section, and the places of what is in it."""

    path: Path
    value: Any
    place: Place
    inside: Mapping[Path, Place] = field(default_factory=dict)

    def place_of(self, path: Path) -> Place:
        """The place of what stands at `path`, or of the nearest part above it that was written."""
        parts = (path[:length] for length in range(len(path), len(self.path), -1))
        return next((self.inside[part] for part in parts if part in self.inside), self.place)


def dotted(path: Path) -> str:
    """`path` as people write it: worker.max_concurrent, handlers[1]."""
    keys = (f"[{key}]" if isinstance(key, int) else f".{shown_key(key)}" for key in path)
    return "".join(keys).removeprefix(".")


def shown_key(key: str) -> str:
    """A key fit for a problem line; one that is not a plain word may hold a secret."""
    return key if _PLAIN_KEY.fullmatch(key) else "(?)"
