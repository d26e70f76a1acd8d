"""Settings as they were written, each with its place: the environment, flags, a framework.

Nothing here needs pydantic or PyYAML: `worker healthcheck` and `--help` start fast.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]

ENV_PREFIX = "TASKRIG_"

# Settings that have a flag of their own; any other can be given with --set.
FLAGS = {
    "redis.url": "--redis-url",
    "queue.key": "--redis-key",
    "worker.interval": "--interval",
    "worker.max_tasks": "--max-tasks",
    "worker.max_concurrent": "--max-concurrent",
    "worker.processes": "--processes",
    "log.level": "--log-level",
    "log.format": "--log-format",
}

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
    """A key fit for a problem line; one that is no plain word may hold a secret."""
    return key if _PLAIN_KEY.fullmatch(key) else "(?)"


def setting_path(name: str, joint: str = ".") -> Path:
    """The path of a dotted name; a task type may itself hold dots (tasks.email.send.timeout)."""
    parts = tuple(name.split(joint))
    if parts[0] == "tasks" and len(parts) > 3:
        return ("tasks", joint.join(parts[1:-1]), parts[-1])
    return parts


def env_name(path: Path) -> str:
    """The environment variable of a setting: TASKRIG_WORKER__MAX_CONCURRENT."""
    return ENV_PREFIX + "__".join(str(key).upper() for key in path)


def of_environment(env: Mapping[str, str]) -> list[Written]:
    """Settings of the environment: TASKRIG_<SECTION>__<KEY>, and TASKRIG_HANDLERS.

    Other TASKRIG_ names are not ours to judge: Kubernetes makes TASKRIG_SERVICE_HOST and such
    for a Service of that name.
    """
    settings = []
    for name in sorted(env):
        rest = name.removeprefix(ENV_PREFIX)
        if rest != name and ("__" in rest or rest == "HANDLERS"):
            path = setting_path(rest.lower(), "__")
            place = Place(name, f"environment {name}", env[name], path)
            settings.append(Written(path, Text(env[name]), place))
    return settings


def of_flags(overrides: Mapping[str, Any]) -> list[Written]:
    """Settings of flags, by dotted name; text takes the type its setting wants."""
    settings = []
    for name, value in overrides.items():
        path = setting_path(name.removesuffix("_s"))  # the name of a field will do
        flag = FLAGS.get(dotted(path)) or "--" + "-".join(map(str, path)).replace("_", "-")
        place = Place(flag, f"flag {flag}", _if_scalar(str, value), path)
        settings.append(Written(path, Text(value) if isinstance(value, str) else value, place))
    return settings


def of_framework(name: str, values: Mapping[str, Any], path: Path = ()) -> Iterator[Written]:
    """Settings that a framework holds as Python values, such as Django's settings.TASKRIG."""
    for key, value in values.items():
        below = (*path, str(key))
        if isinstance(value, Mapping):
            yield Written(below, {}, Place(name, name))
            yield from of_framework(name, value, below)
        else:
            yield Written(below, value, Place(name, name, _if_scalar(repr, value)))


def _if_scalar(show: Any, value: object) -> str | None:
    return show(value) if isinstance(value, str | int | float) else None
