"""Turn what pydantic found into problems: where it stands, what would be right, what it was."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from taskrig.config.layers import ENV_PREFIX, env_name
from taskrig.config.model import Config
from taskrig.config.named_files import SECRET_FILES
from taskrig.config.raw import Layer, Path, Place, Problem, dotted, shown, shown_key, value_at
from taskrig.config.sections import Section, yaml_key

SECRETS = frozenset({("redis", "url"), *SECRET_FILES.values()})
NOT_A_SECTION = "must hold keys of its own, each on a line below it (key: value)"


def problems_of(error: ValidationError, layer: Layer) -> Iterator[Problem]:
    """Every problem that pydantic found in the settings of `layer`."""
    for found in error.errors(include_url=False, include_input=False):
        path: Path = tuple(key for key in found["loc"] if key != "[key]")
        place = _place(path, layer)
        text = _text(found, path, place)
        yield Problem(place.where, text, None if place.names == path else path)


def _place(path: Path, layer: Layer) -> Place:
    """The place of the setting, else of the nearest section above it that was written."""
    for length in range(len(path), 0, -1):
        if path[:length] in layer.places:
            return layer.places[path[:length]]
    for below, place in layer.places.items():
        if below[: len(path)] == path:
            return place
    return Place("config", "default")


def _text(found: Any, path: Path, place: Place) -> str:
    kind = str(found["type"])
    if kind == "extra_forbidden":
        return _unknown(path, place)
    if kind in ("model_type", "dict_type", "mapping_type", "model_attributes_type"):
        text = NOT_A_SECTION
    else:
        text = str(found["msg"])
    return text + _got(path, place)


def _got(path: Path, place: Place) -> str:
    if place.text is None or path[:2] in SECRETS or path in (("redis",), ("email",), ("http",)):
        return ""
    return f" (got {shown(place.text) or 'nothing'})"


def _unknown(path: Path, place: Place) -> str:
    key, known = str(path[-1]), sorted(keys_of(path[:-1]))
    if shown_key(key) != key:
        return "unknown key; is a space missing after a colon?"
    near = [(*path[:-1], k) for k in difflib.get_close_matches(key.replace("-", "_"), known, 1)]
    elsewhere = [leaf for leaf in known_settings() if leaf[-1] == key]
    target: Path | None = next(iter([*elsewhere, *near]), None)
    if target is None:
        return f"unknown key; known are {', '.join(known)}" if known else "unknown key"
    if place.where.startswith(ENV_PREFIX):
        target += (place.names or ())[len(path) :]
        return f"unknown setting; did you mean {env_name(target)}?"
    same_section = target[:-1] == path[:-1]
    return f"unknown key; did you mean {target[-1] if same_section else dotted(target)}?"


def keys_of(path: Path) -> list[str]:
    """The keys that a section knows, as YAML has them."""
    model = model_at(path)
    return [yaml_key(name) for name in model.model_fields] if model else []


def model_at(path: Path) -> type[Section] | None:
    """The model of the section at `path`."""
    model: type[Section] = Config
    for depth, key in enumerate(path):
        if depth == 1 and path[0] == "tasks":
            continue
        fields = {yaml_key(name): info for name, info in model.model_fields.items()}
        inner = _model_in(fields[str(key)].annotation) if key in fields else None
        if inner is None:
            return None
        model = inner
    return model


def _model_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, Section) else None
    inner = [found for found in map(_model_in, get_args(annotation)) if found]
    return inner[-1] if inner else None


def known_settings() -> list[Path]:
    """Every setting outside `tasks`, as a path of YAML keys."""
    settings: list[Path] = []
    for name, info in Config.model_fields.items():
        model = _model_in(info.annotation)
        if model is None or name == "tasks":
            settings.append((yaml_key(name),))
        else:
            settings += [(yaml_key(name), yaml_key(inner)) for inner in model.model_fields]
    return settings


def without_wrong_sections(layer: Layer) -> Iterator[Problem]:
    """Take out what stands where a section should be, so that no other layer can hide it."""
    for key, value in list(layer.values.items()):
        if value is None or isinstance(value, dict) or (model_at((key,)) is None):
            continue
        place = _place((key,), layer)
        del layer.values[key]
        path = None if place.names == (key,) else (key,)
        yield Problem(place.where, NOT_A_SECTION + _got((key,), place), path)


def misplaced(layer: Layer) -> Iterator[Problem]:
    """Settings of the environment or of flags that go deeper than any section."""
    for path, place in list(layer.places.items()):
        inner = [depth for depth in range(1, len(path)) if model_at(path[:depth]) is None]
        if not inner or not isinstance(path[-1], str):
            continue
        parent = path[: inner[0]]
        if model_at(parent[:-1]) is not None and str(parent[-1]) not in keys_of(parent[:-1]):
            continue  # the unknown key itself is reported
        section = value_at(layer.values, parent[:-1])
        if isinstance(section, dict):
            section.pop(parent[-1], None)
        yield Problem(place.where, f"{dotted(parent)} holds no keys of its own")


def stray_variables(env: Mapping[str, str]) -> Iterator[Problem]:
    """TASKRIG_ names that only just miss a setting, such as TASKRIG_WORKER_MAX_CONCURRENT."""
    by_flat = {env_name(path).replace("__", "_"): env_name(path) for path in known_settings()}
    for name in sorted(env):
        if not name.startswith(ENV_PREFIX) or "__" in name or name == env_name(("handlers",)):
            continue
        if env[name].startswith(("tcp://", "udp://", "sctp://")):
            continue  # Kubernetes makes these for a Service
        near = difflib.get_close_matches(name, by_flat, 1, 0.92)
        if near:
            yield Problem(name, f"unknown setting; did you mean {by_flat[near[0]]}?")
