"""Load the configuration: defaults < file < environment < flags; all problems at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from worker.config.document import read_file
from worker.config.layers import env_layer, flag_layer, set_layer
from worker.config.model import Config, yaml_key
from worker.config.raw import Layer, Path, Problem, dotted, merged, value_at
from worker.config.secret_files import drop_rivals, read_secret_files
from worker.config.wording import known_settings, problems_of, stray_variables
from worker.errors import UsageError

DEFAULT_FILE = FilePath("config.yaml")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def load_config(
    path: FilePath | None = None,
    *,
    env: Mapping[str, str],
    overrides: Mapping[str, Any] = _NOTHING,
    sets: Sequence[str] = (),
) -> Config:
    """The configuration that holds after all layers.

    Args:
        path: a file that must exist; None takes ./config.yaml where there is one.
        env: the environment, for TASKRIG_ variables and ${VAR} in the file.
        overrides: settings of flags by dotted key; text takes the type its setting wants.
        sets: "a.b=c" settings, the value parsed as YAML; they win over `overrides`.

    Raises:
        UsageError: with every problem, a line each.
    """
    if path is None and DEFAULT_FILE.exists():
        path = DEFAULT_FILE
    layer, problems = read_file(path, env) if path is not None else (Layer(), [])
    names = {_yaml_name(name): value for name, value in overrides.items()}
    set_values, set_problems = set_layer(sets)
    problems += [*set_problems, *stray_variables(env)]
    for upper in (env_layer(env), flag_layer(names), set_values):
        layer = merged(drop_rivals(layer, upper), upper)
    problems += read_secret_files(layer, path.parent if path else FilePath())
    config = None
    try:
        config = Config.model_validate(layer.values, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += problems_of(error, layer)
    if problems or config is None:
        raise UsageError(_lines(problems))
    return config.with_origins(_origins(config, layer), path)


def _yaml_name(name: str) -> str:
    section, dot, key = name.rpartition(".")
    return f"{section}{dot}{yaml_key(key)}"


def _lines(problems: Sequence[Problem]) -> str:
    seen: dict[str, None] = {}
    for problem in problems:
        seen.setdefault(problem.line())
    return "\n".join(seen)


def _origins(config: Config, layer: Layer) -> dict[str, str]:
    paths: list[Path] = [path for path in known_settings() if path != ("tasks",)]
    for task, settings in config.tasks.items():
        paths += [("tasks", task, yaml_key(name)) for name in type(settings).model_fields]
    return {
        ".".join(map(str, path)): place.origin
        if (place := layer.places.get(path)) and not _is_section(layer, path)
        else "default"
        for path in paths
    }


def _is_section(layer: Layer, path: Path) -> bool:
    return isinstance(value_at(layer.values, path), dict)


__all__ = ["dotted", "load_config"]
