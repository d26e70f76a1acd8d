"""Whether a document has the shape that a JSON Schema says: the keywords ours uses. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "integer": int, "number": (int, float),
}  # fmt: skip


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> Iterator[str]:
    """What is wrong, a line each, with its place.

    Args:
        root: the whole schema, where a `$ref` is looked up.
        at: what the value is called: `totals.workers`.
    """
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    allowed = schema.get("type", list(_TYPES))
    names = [allowed] if isinstance(allowed, str) else allowed
    if not any(_is(value, name) for name in names):
        yield f"{at} must be {' or '.join(names)}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{at} must be one of {', '.join(schema['enum'])}"
    elif "minimum" in schema and value < schema["minimum"]:
        yield f"{at} must be at least {schema['minimum']}"
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from problems(one, schema.get("items", {}), root, f"{at}[{number}]")
    elif isinstance(value, dict):
        yield from _of_object(value, schema, root, at)


def _of_object(
    value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str
) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}.{name} is missing"
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, one in value.items():
        rule = known.get(name, others)
        if isinstance(rule, dict):
            yield from problems(one, rule, root, f"{at}.{name}")


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])
