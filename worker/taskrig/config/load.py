"""Load the configuration: defaults < file < environment < flags; all problems at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from taskrig.config.document import read_file
from taskrig.config.layers import env_layer, flag_layer, framework_layer, set_layer
from taskrig.config.model import Config
from taskrig.config.named_files import drop_rivals, read_named_files
from taskrig.config.raw import Layer, Path, Problem, merged, value_at
from taskrig.config.sections import yaml_key
from taskrig.config.wording import (
    known_settings,
    misplaced,
    problems_of,
    stray_variables,
    without_wrong_sections,
)
from taskrig.errors import UsageError

DEFAULT_FILE = FilePath("config.yaml")
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_POSITION = re.compile(r":(\d+):(\d+)$")


def load_config(
    path: FilePath | None = None,
    *,
    env: Mapping[str, str],
    overrides: Mapping[str, Any] = _NOTHING,
    sets: Sequence[str] = (),
    framework: tuple[str, Mapping[str, Any]] | None = None,
) -> Config:
    """The configuration that holds after all layers.

    Args:
        path: a file that must exist; None takes ./config.yaml where there is one.
        env: the environment, for TASKRIG_ variables and ${VAR} in the file.
        overrides: settings of flags by dotted key; text takes the type its setting wants.
        sets: "a.b=c" settings, the value parsed as YAML; they win over `overrides`.
        framework: a name and nested settings, between file and environment; with them
            ./config.yaml is not looked for.

    Raises:
        UsageError: with every problem, a line each.
    """
    if path is None and framework is None and os.path.lexists(DEFAULT_FILE):
        path = DEFAULT_FILE
    layer, problems = read_file(path, env) if path is not None else (Layer(), [])
    problems += [*stray_variables(env), *without_wrong_sections(layer)]
    set_values, set_problems = set_layer(sets)
    problems += set_problems
    flags = flag_layer({_yaml_name(name): value for name, value in overrides.items()})
    own = framework_layer(*framework) if framework is not None else Layer()
    for upper in (own, env_layer(env), flags, set_values):
        problems += [*misplaced(upper), *without_wrong_sections(upper)]
        layer = merged(drop_rivals(layer, upper), upper)
    problems += read_named_files(layer, path.parent if path else FilePath())
    config = None
    try:
        config = Config.model_validate(layer.values, by_alias=True, by_name=False)
    except ValidationError as error:
        said = {problem.where for problem in problems}  # what could not be read cannot be right
        problems += [found for found in problems_of(error, layer) if found.where not in said]
    if problems or config is None:
        raise UsageError("\n".join(_lines(problems)))
    return config.with_origins(_origins(config, layer), path)


def _yaml_name(name: str) -> str:
    section, dot, key = name.rpartition(".")
    return f"{section}{dot}{yaml_key(key)}"


def _lines(problems: Iterable[Problem]) -> list[str]:
    """Each problem once: those of the file from top to bottom, then the others."""

    def position(problem: Problem) -> tuple[int, int]:
        match = _POSITION.search(problem.where)
        return (int(match[1]), int(match[2])) if match else (10**9, 0)

    return list(dict.fromkeys(p.line() for p in sorted(problems, key=position)))


def _origins(config: Config, layer: Layer) -> dict[str, str]:
    paths: list[Path] = [path for path in known_settings() if path != ("tasks",)]
    for task, settings in config.tasks.items():
        paths += [("tasks", task, yaml_key(name)) for name in type(settings).model_fields]
    origins = {}
    for path in paths:
        place = layer.places.get(path)
        written = place is not None and not isinstance(value_at(layer.values, path), dict)
        origins[".".join(map(str, path))] = place.origin if place and written else "default"
    return origins
