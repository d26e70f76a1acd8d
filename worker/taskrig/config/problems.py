"""What is wrong with settings, in words: where it stands, what would be right, what it was."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from taskrig.config.sections import Config, TaskConfig
from taskrig.config.sources import ENV_PREFIX, env_name
from taskrig.config.values import Section, kind_of, yaml_key
from taskrig.places import Path, Place, Problem, Written, dotted, shown_key
from taskrig.texts import plain, without_password
from taskrig.units import Unit

Layer = dict[Path, Written]  # settings by their paths, and {} where a section begins

ANY = "*"  # stands for a task type
NOT_A_SECTION = "must hold keys of its own, each on a line below it (key: value)"


def _fields(model: type[Section], path: Path = ()) -> Iterator[tuple[Path, FieldInfo]]:
    for name, info in model.model_fields.items():
        below = (*path, yaml_key(name))
        if below == ("tasks",):
            yield from _fields(TaskConfig, (*below, ANY))
        elif isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from _fields(info.annotation, below)
        else:
            yield below, info


FIELDS = dict(_fields(Config))  # of every setting, by its path
SECRETS = {path for path, info in FIELDS.items() if kind_of(info)[0] is SecretStr}
SECRETS.add(("redis", "url"))
_HEADS = {path[:depth] for path in FIELDS for depth in range(len(path) + 1)} - set(FIELDS)
_SECTIONS = {  # the keys of each
    head: sorted({str(path[len(head)]) for path in FIELDS if path[: len(head)] == head})
    for head in _HEADS
}


def known_settings() -> list[Path]:
    """Every setting outside `tasks`, as a path of YAML keys."""
    return [path for path in FIELDS if path[0] != "tasks"]


def kind_at(path: Path) -> tuple[Any, Unit | None]:
    """The type of the setting at `path`, and what its number counts; None where there is none."""
    info = FIELDS.get(_general(path))
    return kind_of(info) if info else (None, None)


def _general(path: Path) -> Path:
    return ("tasks", ANY, *path[2:]) if path[:1] == ("tasks",) and len(path) > 1 else path


def take_apart(source: Iterable[Written], problems: list[Problem]) -> Layer:
    """A source as single settings; what is unknown, or of another shape, is added to `problems`."""
    return {one.path: one for whole in source for one in _settings(whole, problems)}


def _settings(written: Written, problems: list[Problem]) -> Iterator[Written]:
    path, value, place = written.path, written.value, written.place
    for depth, key in enumerate(path):
        known = _SECTIONS.get(_general(path[:depth]))
        if known is None:
            says = f"{dotted(path[:depth])} holds no keys of its own"
            problems.append(Problem(place.where, says))
            return
        if key not in known and ANY not in known:
            problems.append(place.problem(path[: depth + 1], _unknown(path, depth, known, place)))
            return
    if _general(path) in FIELDS:
        yield written
    elif value is None or isinstance(value, dict):
        if path:
            yield Written(path, {}, place)
        for key, inner in (value or {}).items():
            below = (*path, key)
            part = Written(below, inner, written.place_of(below), written.inside)
            yield from _settings(part, problems)
    else:
        problems.append(place.problem(path, NOT_A_SECTION + _got(path, place)))


def _unknown(path: Path, depth: int, known: list[str], place: Place) -> str:
    key = str(path[depth])
    if shown_key(key) != key:
        return "unknown key; is a space missing after a colon?"
    near = difflib.get_close_matches(key.replace("-", "_"), known, 1)
    elsewhere = [leaf for leaf in known_settings() if leaf[-1] == key]
    target = next(iter([*elsewhere, *((*path[:depth], one) for one in near)]), None)
    if target is None:
        return f"unknown key; known are {', '.join(known)}"
    if place.where.startswith(ENV_PREFIX):
        return f"unknown setting; did you mean {env_name(target + path[depth + 1 :])}?"
    same_section = target[:-1] == path[:depth]
    return f"unknown key; did you mean {target[-1] if same_section else dotted(target)}?"


def problems_of(error: ValidationError, layer: Layer) -> Iterator[Problem]:
    """Every problem that pydantic found in the settings of `layer`."""
    errors = error.errors(include_url=False)
    inside = {found["loc"][:-1] for found in errors}
    for found in errors:
        if found["type"] == "too_short" and found["loc"] in inside:
            continue  # it is not empty: its items are wrong
        path: Path = tuple(key for key in found["loc"] if key != "[key]")
        place = _place(path, layer)
        yield place.problem(path, _text(found, kind_at(path)[1]) + _got(path, place))


def _place(path: Path, layer: Layer) -> Place:
    """The place of the setting, else of the nearest section above it that was written."""
    for length in range(len(path), 0, -1):
        if path[:length] in layer:
            return layer[path[:length]].place_of(path)
    below = (written.place for one, written in layer.items() if one[: len(path)] == path)
    return next(below, Place("config", "default"))


def _got(path: Path, place: Place) -> str:
    if place.text is None or any(secret[: len(path)] == path[:2] for secret in SECRETS):
        return ""
    return f" (got {plain(without_password(place.text), 60) or 'nothing'})"


def _text(found: Any, unit: Unit | None) -> str:
    """What would be right, of an error of pydantic's."""
    kind, more = str(found["type"]), found.get("ctx", {})
    if kind == "value_error":
        return str(more["error"])
    if kind == "string_type":
        return _not_text(found["input"])
    if kind == "literal_error":
        return f"must be {more['expected']}".replace("'", "")
    if kind == "greater_than":
        return f"must be more than {more['gt']:g} seconds"
    for bound, words in (("ge", "at least"), ("le", "at most")):
        if bound in more:
            return f"must be {words} {unit.text(more[bound]) if unit else more[bound]}"
    return f"must be {unit.like}" if unit else _TEXTS.get(kind, str(found["msg"]))


_TEXTS = {
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_too_short": "must not be empty",
    "string_unicode": "must be text that UTF-8 can hold",
    "too_short": "must name at least one",
}


def _not_text(value: Any) -> str:
    if value is None:
        return "must be text; YAML reads this as nothing: fill it in, or quote it"
    if isinstance(value, bool | int | float):
        kind = "true or false" if isinstance(value, bool) else "a number"
        return f"must be text; YAML reads this as {kind}: quote it"
    return "must be text"


def stray_variables(env: Mapping[str, str]) -> Iterator[Problem]:
    """TASKRIG_ names that only just miss a setting, such as TASKRIG_WORKER_MAX_CONCURRENT."""
    by_flat = {env_name(path).replace("__", "_"): env_name(path) for path in known_settings()}
    for name in sorted(env):
        if not name.startswith(ENV_PREFIX) or "__" in name or name == "TASKRIG_HANDLERS":
            continue
        of_kubernetes = env[name].startswith(("tcp://", "udp://", "sctp://"))  # for a Service
        near = [] if of_kubernetes else difflib.get_close_matches(name, by_flat, 1, 0.92)
        for one in near:
            yield Problem(name, f"unknown setting; did you mean {by_flat[one]}?")
