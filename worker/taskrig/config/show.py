"""The configuration that holds, as YAML that can be read back, and its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import SecretStr
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from taskrig.config.problems import kind_at
from taskrig.config.sections import Config
from taskrig.config.values import MASK, Section
from taskrig.places import Path


def as_yaml(config: Config, *, origins: bool = False) -> str:
    """Every setting with the value that holds; secrets are masked.

    With `origins`, a comment behind each says where it came from.
    """
    settings = dict(config.settings())
    settings["redis", "url"] = config.redis.masked_url()
    lines = []
    for path, value in settings.items():
        text, source = _text(path, value), path
        file = (*path[:-1], f"{path[-1]}_file")
        if isinstance(value, SecretStr) and settings[file]:
            # What came from a file is shown as the file's name: both would be refused together.
            text, source = "null", file
        line = f"{'  ' * (len(path) - 1)}{_scalar(path[-1])}:{text and ' '}{text}"
        origin = config.origins.get(".".join(map(str, source)), "default")
        lines.append(f"{line:<44}  # {origin}" if origins and text else line)
    return "\n".join(lines) + "\n"


def _text(path: Path, value: Any) -> str:
    unit = kind_at(path)[1]
    if isinstance(value, Section) or (value and isinstance(value, Mapping)):
        return ""
    if isinstance(value, SecretStr):
        return f'"{MASK}"'
    if unit and value is not None:
        return unit.text(value)
    return _scalar(list(value) if isinstance(value, tuple) else value)


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def schema() -> dict[str, Any]:
    """The JSON Schema of config.yaml."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(by_alias=True, schema_generator=_AsWritten),
        "title": "Taskrig config.yaml",
    }


class _AsWritten(GenerateJsonSchema):
    """${VAR} may stand for any value, and one text for a list of one."""

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        made = super().generate_inner(schema)
        if schema["type"] in ("int", "float", "bool", "literal"):
            words = r"^(yes|no|on|off)$|" if schema["type"] == "bool" else ""
            return {"anyOf": [made, {"type": "string", "pattern": rf"{words}\$\{{"}]}
        return {"anyOf": [{"type": "string"}, made]} if schema["type"] == "tuple" else made
