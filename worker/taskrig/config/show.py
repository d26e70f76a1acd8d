"""The configuration that holds, as YAML that can be read back, and its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import SecretStr

from taskrig.config.model import Config
from taskrig.config.quantities import Seconds, Size
from taskrig.config.readings import OrNone
from taskrig.config.sections import Section, yaml_key
from taskrig.config.texts import MASK
from taskrig.units import duration_text, size_text


def as_yaml(config: Config, *, origins: bool = False) -> str:
    """Every setting with the value that holds; secrets are masked.

    With `origins`, a comment behind each says where it came from.
    """
    lines = []
    for indent, key, value, path in _lines(config):
        line = f"{'  ' * indent}{key}:{'' if value is None else ' ' + value}"
        origin = config.origins.get(path, "default") if origins and value is not None else None
        lines.append(f"{line:<44}  # {origin}" if origin else line)
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema of config.yaml."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(by_alias=True),
        "title": "Taskrig config.yaml",
    }


def _lines(config: Config) -> Iterator[tuple[int, str, str | None, str]]:
    """Indent, key, value (None for a section) and dotted path of every line."""
    for name in Config.model_fields:
        part = getattr(config, name)
        if isinstance(part, Section):
            yield 0, name, None, name
            yield from _section(part, 1, name, config)
        elif isinstance(part, Mapping):
            yield 0, name, None if part else "{}", name
            for key, section in part.items():
                yield 1, _scalar(key), None, f"{name}.{key}"
                yield from _section(section, 2, f"{name}.{key}", config)
        else:
            yield 0, name, _value(part), name


def _section(
    section: Section, indent: int, path: str, config: Config
) -> Iterator[tuple[int, str, str | None, str]]:
    for name, info in type(section).model_fields.items():
        key, value = yaml_key(name), getattr(section, name)
        dotted = f"{path}.{key}"
        from_file = f"{dotted}_file"
        if key == "url":
            text = _scalar(config.redis.masked_url())
        elif isinstance(value, SecretStr):
            # What came from a file is shown as the file's name: both would be refused together.
            text = "null" if getattr(section, f"{name}_file", None) else f'"{MASK}"'
        else:
            text = _value(value, _reading(info.metadata))
        yield indent, key, text, from_file if text == "null" and value is not None else dotted


def _reading(metadata: list[Any]) -> Any:
    reading = metadata[0] if metadata else None
    return reading.reading if isinstance(reading, OrNone) else reading


def _value(value: Any, reading: Any = None) -> str:
    if isinstance(reading, Seconds) and value is not None:
        return duration_text(value)
    if isinstance(reading, Size):
        return size_text(value)
    if isinstance(value, tuple):
        return _scalar(list(value))
    return _scalar(value)


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()
