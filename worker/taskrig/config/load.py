"""Load the configuration: defaults < file < environment < flags; all problems at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from taskrig.config import sources, yaml
from taskrig.config.problems import (
    FIELDS,
    SECRETS,
    Layer,
    known_settings,
    problems_of,
    stray_variables,
    take_apart,
)
from taskrig.config.sections import Config, TaskConfig
from taskrig.config.sources import Place, Problem, Text, Written
from taskrig.config.values import yaml_key
from taskrig.errors import UsageError

DEFAULT_FILE = FilePath("config.yaml")
MAX_BYTES = 2**20  # of a named file; a bundle of all the CAs of the world has a fifth of this

SECRET_FILES = {(*path[:-1], f"{path[-1]}_file"): path for path in SECRETS}
FOLDERS = {("files", "root")}  # looked at by the handler, when it is there

_POSITION = re.compile(r":(\d+):(\d+)$")


def load_config(
    path: FilePath | None = None,
    *,
    env: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
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
    file, problems = yaml.read_file(path, env) if path is not None else ([], [])
    of_sets, found = yaml.of_sets(sets)
    problems += [*stray_variables(env), *found]
    own = sources.of_framework(*framework) if framework is not None else ()
    layer: Layer = {}
    for source in (
        file,
        own,
        sources.of_environment(env),
        sources.of_flags(overrides or {}),
        of_sets,
    ):
        upper = take_apart(source, problems)
        layer = _without_rivals(layer, upper) | upper
    problems += _read_named_files(layer, path.parent if path else FilePath())
    config = None
    try:
        config = Config.model_validate(_nested(layer))
    except ValidationError as error:
        said = {problem.where for problem in problems}  # what could not be read cannot be right
        problems += [found for found in problems_of(error, layer) if found.where not in said]
    if problems or config is None:
        raise UsageError("\n".join(_lines(problems)))
    return config.with_origins(_origins(config, layer), path)


def _without_rivals(lower: Layer, upper: Layer) -> Layer:
    """`lower` without a secret that `upper` gives in the other way, as text or as a file."""
    given = {path for path, written in upper.items() if written.value not in (None, "")}
    pairs = [*SECRET_FILES.items(), *((secret, file) for file, secret in SECRET_FILES.items())]
    rivals = {rival for one, rival in pairs if one in given}
    return {path: written for path, written in lower.items() if path not in rivals}


def _read_named_files(layer: Layer, folder: FilePath) -> Iterator[Problem]:
    """Put the contents of secret files in place, and make sure that the others can be read.

    A relative name in the config file counts from its `folder`, one in the environment or a
    flag from the current folder; names of files and folders become whole paths.
    """
    for named, written in list(layer.items()):
        is_file = named in FIELDS and str(named[-1]).endswith("_file")
        name, place = written.value, written.place
        if not (is_file or named in FOLDERS) or not isinstance(name, str) or not name:
            continue
        path = folder / name if place.names is None else FilePath(name)
        raw, trouble = yaml.contents(path, MAX_BYTES) if is_file else (b"", None)
        trouble = f"the file {trouble}" if trouble else None
        secret = SECRET_FILES.get(named)
        if secret is None:
            layer[named] = Written(named, Text(path.absolute()), place)
        elif secret in layer and layer[secret].value not in (None, ""):
            trouble = f"give either {secret[-1]} or {named[-1]}, not both"
        elif not trouble:
            text, trouble = _secret_of(raw)
            layer[secret] = Written(secret, Text(text), Place(place.where, place.origin))
        if trouble:
            yield place.problem(named, trouble)


def _secret_of(raw: bytes) -> tuple[str, str | None]:
    """A file's text without the newline at its end, or why it is no secret."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "", "the file is not UTF-8 text"
    text = text[:-1].removesuffix("\r") if text.endswith("\n") else text
    return text, None if text else "the file is empty"


def _nested(layer: Layer) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path, written in layer.items():
        section = values
        for key in path[:-1]:
            section = section.setdefault(str(key), {})
        value = dict(written.value) if isinstance(written.value, dict) else written.value
        section.setdefault(str(path[-1]), value)
    return values


def _lines(problems: Iterable[Problem]) -> list[str]:
    """Each problem once: those of the file from top to bottom, then the others."""

    def position(problem: Problem) -> tuple[int, int]:
        match = _POSITION.search(problem.where)
        return (int(match[1]), int(match[2])) if match else (10**9, 0)

    return list(dict.fromkeys(p.line() for p in sorted(problems, key=position)))


def _origins(config: Config, layer: Layer) -> dict[str, str]:
    paths = known_settings()
    for task in config.tasks:
        paths += [("tasks", task, yaml_key(name)) for name in TaskConfig.model_fields]
    return {
        ".".join(map(str, path)): layer[path].place.origin if path in layer else "default"
        for path in paths
    }
