"""Settings as they were written: of the environment, of flags, of a framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from taskrig.places import Path, Place, Text, Written, dotted

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
