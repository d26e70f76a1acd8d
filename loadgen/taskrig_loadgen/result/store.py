"""How a result is kept: one versioned JSON document, checked by its schema when it is read."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from taskrig.errors import UsageError
from taskrig_loadgen.load.mix import ALL
from taskrig_loadgen.result.model import FORMAT, VERSION, Result


def to_json(result: Result) -> str:
    """The document that is kept and printed."""
    return json.dumps(msgspec.to_builtins(result), indent=1, allow_nan=False)


def save(result: Result, path: Path) -> None:
    """Write the document; whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    write_file(path, to_json(result))


def write_file(path: Path, text: str) -> None:
    """Write by way of a file beside it, so that a crash leaves the old one.

    A link is followed; into what is no regular file, such as a pipe or /dev/stdout, it is written
    as it stands: a device must not be replaced.

    Raises:
        UsageError: the file cannot be written.
    """
    data = text.encode("utf-8", "backslashreplace")  # stray bytes of a command line
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        target = path.resolve()
        beside = target.with_name(target.name + ".part")
        try:
            beside.write_bytes(data)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)  # a part of it, on a full disk
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


def check_target(path: Path) -> None:
    """Refuse, before a run, what cannot be written after it.

    Raises:
        UsageError: it is a folder, or its folder is missing or may not be written.
    """
    folder = path.resolve().parent
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder; name a file in it")
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {folder}")
    if path.exists() and not path.is_file():
        folder = path  # a pipe or a device: nothing is written beside it
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {path}: {folder} may not be written")


def load(path: Path) -> Result:
    """Read a result and check that it is one.

    Raises:
        UsageError: no such file, no JSON, another format or shape, or a newer version.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None


def parse(text: str, name: str) -> Result:
    """The result that a document holds.

    Args:
        name: of the document, for errors.

    Raises:
        UsageError: no JSON, another format or shape, or a newer version.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError(f'{name} is no result of loadgen (no "format": "{FORMAT}")')
    if document.get("version") != VERSION:
        found = document.get("version")
        raise UsageError(f"{name} has format version {found}; this loadgen reads version {VERSION}")
    import fastjsonschema  # here: only who reads a result need wait for it

    try:
        _check()(document)
    except fastjsonschema.JsonSchemaValueException as error:
        wrong = error.message.replace("data", "result", 1)
        raise UsageError(f"{name} is not a complete result of loadgen: {wrong}") from None
    result = msgspec.convert(document, Result, strict=False)
    for place, blocks in (("series", result.series), ("failed_series", result.failed_series or {})):
        for kind, block in blocks.items():
            for series, figures in block.items():
                if not figures.is_whole:
                    where = f"result.{place}.{kind}.{series}"
                    raise UsageError(
                        f"{name} is not a complete result of loadgen: {where} must contain mean, "
                        f"stddev, min, max and hdr of its {figures.count} samples"
                    )
    return result


@functools.cache
def _check() -> Callable[[dict[str, Any]], object]:
    """What raises an error with the place where a document does not fit the schema."""
    import fastjsonschema

    check: Callable[[dict[str, Any]], object] = fastjsonschema.compile(schema())
    return check


def schema() -> dict[str, Any]:
    """The JSON Schema of the document, made from the types."""
    parts = msgspec.json.schema(Result)["$defs"]
    whole = _plain(parts.pop("Result"), parts)
    whole["properties"]["series"]["required"] = [ALL]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "title": f"Result of a loadgen run, version {VERSION}",
        "$defs": _plain(parts, parts),
    }


def _plain(node: Any, parts: dict[str, Any]) -> Any:
    """The same schema with "X or null" as X whose type may be null too, where it may be null.

    Of an `anyOf` a validator can only say that nothing of it fits, not which part of X is wrong.
    """
    if not isinstance(node, dict):
        return [_plain(one, parts) for one in node] if isinstance(node, list) else node
    node = {key: value for key, value in node.items() if key != "default"}
    if isinstance(node.get("description"), str):
        node["description"] = " ".join(node["description"].split())
    if "anyOf" in node:
        some, _ = node.pop("anyOf")
        some = parts[some["$ref"].rpartition("/")[2]] if "$ref" in some else some
        node = {**some, "type": [some["type"], "null"], **node}
    return {key: _plain(value, parts) for key, value in node.items()}
