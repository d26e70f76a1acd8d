"""Load the configuration: defaults < file < environment < flags; all problems at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from taskrig.config import problems, sources
from taskrig.config.problems import FIELDS, SECRETS, Layer
from taskrig.config.sections import Config
from taskrig.config.yaml import of_sets
from taskrig.documents import contents, read_file
from taskrig.errors import UsageError
from taskrig.places import Place, Problem, Text, Written

DEFAULT_FILE = FilePath("config.yaml")
MAX_BYTES = 2**20  # of a named file; a bundle of all the CAs of the world has a fifth of this

SECRET_FILES = {(*path[:-1], f"{path[-1]}_file"): path for path in SECRETS}
NAMED = {path for path in FIELDS if str(path[-1]).endswith("_file")}
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
    file, found = read_file(path, env) if path is not None else ([], [])
    found += problems.stray_variables(env)
    layers = [file, sources.of_framework(*framework)] if framework is not None else [file]
    layers += [sources.of_environment(env), sources.of_flags(overrides or {})]
    layers.append(of_sets(sets, found))
    layer: Layer = {}
    for source in layers:
        upper = problems.take_apart(source, found)
        layer = _without_rivals(layer, upper) | upper
    found += _read_named_files(layer, path.parent if path else FilePath())
    try:
        config = Config.model_validate(_nested(layer))
    except ValidationError as error:
        said = {(one.where, one.path) for one in found}  # what was not read cannot be right
        wrong = problems.problems_of(error, layer)
        found += [one for one in wrong if not said & {(one.where, one.path), (one.where, None)}]
    if found:
        raise UsageError("\n".join(dict.fromkeys(one.line() for one in sorted(found, key=_order))))
    for one, _ in config.settings():
        origin = layer[one].place.origin if one in layer else "default"
        config.origins[".".join(map(str, one))] = origin
    config._source = path
    return config


def _order(problem: Problem) -> tuple[int, int]:
    """Problems of the file come from top to bottom, then the others."""
    match = _POSITION.search(problem.where)
    return (int(match[1]), int(match[2])) if match else (10**9, 0)


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
    for named in [path for path in layer if path in NAMED | FOLDERS]:
        name, place = layer[named].value, layer[named].place
        if not isinstance(name, str) or not name:
            continue
        path = folder / name if place.names is None else FilePath(name)
        secret = SECRET_FILES.get(named)
        try:
            raw = contents(path, MAX_BYTES, "the file ") if named in NAMED else b""
            if secret is None:
                layer[named] = Written(named, Text(path.absolute()), place)
            elif secret in layer and layer[secret].value not in (None, ""):
                raise ValueError(f"give either {secret[-1]} or {named[-1]}, not both")
            else:
                text = Text(_secret_of(raw))
                layer[secret] = Written(secret, text, Place(place.where, place.origin))
        except ValueError as error:
            yield place.problem(named, str(error))


def _secret_of(raw: bytes) -> str:
    """A file's text without the newline at its end."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text") from None
    text = text[:-1].removesuffix("\r") if text.endswith("\n") else text
    if not text:
        raise ValueError("the file is empty")
    return text


def _nested(layer: Layer) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path, written in layer.items():
        section = values
        for key in path[:-1]:
            section = section.setdefault(str(key), {})
        value = dict(written.value) if isinstance(written.value, dict) else written.value
        section.setdefault(str(path[-1]), value)
    return values
