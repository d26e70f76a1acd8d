"""Where settings come from besides the file: the environment, flags and --set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from taskrig.config.raw import Layer, Path, Place, Problem, Text, dotted, merged, setting_path

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

# What YAML would take for a list: it is an IPv6 address, as in a URL.
_IN_BRACKETS = re.compile(r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%\w+)?\](:[0-9]+)?")
_SETTING = re.compile(r"[A-Za-z_]\w*(\..+)?", re.DOTALL)


def env_name(path: Path) -> str:
    """The environment variable of a setting: TASKRIG_WORKER__MAX_CONCURRENT."""
    return ENV_PREFIX + "__".join(str(key).upper() for key in path)


def env_layer(env: Mapping[str, str]) -> Layer:
    """Settings of the environment: TASKRIG_<SECTION>__<KEY>, and TASKRIG_HANDLERS.

    Other TASKRIG_ names are not ours to judge: Kubernetes makes TASKRIG_SERVICE_HOST and such
    for a Service of that name.
    """
    layer = Layer()
    for name in sorted(env):
        rest = name.removeprefix(ENV_PREFIX)
        if rest == name or not ("__" in rest or rest == "HANDLERS"):
            continue
        path = tuple(rest.lower().split("__"))
        if path[0] == "tasks" and len(path) > 3:
            path = ("tasks", "__".join(path[1:-1]), path[-1])
        layer.put(path, Text(env[name]), Place(name, f"environment {name}", env[name], path))
    return layer


def framework_layer(name: str, values: Mapping[str, Any]) -> Layer:
    """Settings that a framework holds as Python values, such as Django's settings.TASKRIG."""
    layer = Layer()

    def put(path: Path, value: Any) -> None:
        if isinstance(value, Mapping):
            layer.put(path, {}, Place(name, name))
            for key, inner in value.items():
                put((*path, str(key)), inner)
        else:
            written = repr(value) if isinstance(value, str | int | float) else None
            layer.put(path, _plain(value), Place(name, name, written))

    for key, value in values.items():
        put((str(key),), value)
    return layer


def flag_layer(overrides: Mapping[str, Any]) -> Layer:
    """Settings of flags, by dotted name; text takes the type its setting wants."""
    layer = Layer()
    for name, value in overrides.items():
        path = setting_path(name)
        flag = FLAGS.get(name) or "--" + "-".join(str(key).replace("_", "-") for key in path)
        text = str(value) if isinstance(value, str | int | float) else None
        typed = Text(value) if isinstance(value, str) else _plain(value)
        layer.put(path, typed, Place(flag, f"flag {flag}", text, path))
    return layer


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def set_layer(sets: Sequence[str]) -> tuple[Layer, list[Problem]]:
    """Settings of `--set a.b=c`, the value parsed as YAML; a later one wins."""
    result, problems = Layer(), []
    for item in sets:
        name, equals, text = item.partition("=")
        if not equals or not _SETTING.fullmatch(name.strip()):
            problems.append(
                Problem("--set", "expected NAME=VALUE, such as --set worker.max_concurrent=10")
            )
            continue
        layer, found = _one_set(setting_path(name.strip()), text)
        result = merged(result, layer)
        problems += found
    return result, problems


def _one_set(path: Path, text: str) -> tuple[Layer, list[Problem]]:
    from taskrig.config.document import Reader  # needs PyYAML, which a health check does not

    flag = f"--set {dotted(path)}"

    def place_of(_line: int, _column: int, _path: Path, written: str | None) -> Place:
        return Place(flag, f"flag {flag}", written, path)

    reader = Reader(place_of, None)
    plain = _IN_BRACKETS.fullmatch(text.strip()) is not None
    node = None if plain else reader.compose(text)
    if reader.problems:
        return Layer(), reader.problems
    if plain or (node is not None and _is_text(node, path)):
        layer = Layer()
        layer.put(path, Text(text.strip()), place_of(1, 1, path, text.strip()))
        return layer, []
    written = text.strip() if node is None or isinstance(node.value, str) else None
    layer = Layer()
    layer.put(path, None, place_of(1, 1, path, written))
    if node is not None:
        layer.put(path, reader.value(node, path), layer.places[path])
        layer.places |= reader.layer.places
    return layer, reader.problems


def _is_text(node: Any, path: Path) -> bool:
    """Whether YAML takes it for keys and values, though its setting has no keys (`::`, `a: b`)."""
    has_keys = len(path) == 1 or (path[0] == "tasks" and len(path) == 2)
    return node.id == "mapping" and not node.flow_style and not has_keys
