"""Work on files inside the folder that the config's `files.root` names, and nowhere else.

Data: `path` (from the root, with /), `operation` (checksum, count_lines, compress, copy), `to`
(for copy), and `result_key`, a Redis list for the result, where `files.results_prefix` allows it.

Run twice, an operation does no harm: what it would write again is there already.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskrig import Reject, handler
from taskrig.errors import UsageError
from taskrig.handlers._rooted import Folder, Source

if TYPE_CHECKING:
    from taskrig.broker import Results
    from taskrig.config.sections import Config, FilesConfig

log = logging.getLogger("taskrig.handlers")

FIELDS = ("path", "operation", "to", "result_key")

_config: FilesConfig | None = None
_results: Results | None = None


def configure(config: Config) -> str:
    """Take the settings; returns why no file is touched with them, "" when it is.

    Raises:
        UsageError: the root is not a folder.
    """
    global _config, _results
    root = config.files.root
    if root is not None and not Path(root).is_dir():
        raise UsageError(f"files.root: {root} is not a folder; make it, or name another")
    _config, _results = config.files, None
    if config.files.results_prefix is not None:
        from taskrig.broker import Results

        _results = Results(config)
    return "" if root is not None else "files.root is not set"


@handler("file_process", timeout_s=300)
def file_process(data: Any) -> None:
    """Do one operation on one file; what may not be touched is rejected."""
    fields = _checked(data)
    if _config is None or _config.root is None:
        log.info(
            "dry run, files.root is not set: would %s %.100r", fields["operation"], fields["path"]
        )
        return
    with Folder(_config.root) as root:
        result = OPERATIONS[fields["operation"]](root, fields, _config.max_bytes)
    text = json.dumps({"path": fields["path"], "operation": fields["operation"], **result})
    log.info("file_process: %s", text)
    if fields.get("result_key") and _results is not None:
        _results.push(fields["result_key"], text.encode())


def _checked(data: Any) -> dict[str, str]:
    if not isinstance(data, dict):
        raise Reject('file_process: data must be an object: {"path": ..., "operation": ...}')
    for key, value in data.items():
        if key not in FIELDS:
            raise Reject(
                f"file_process: unknown field {str(key)[:40]!r}; known are {', '.join(FIELDS)}"
            )
        if not isinstance(value, str):
            raise Reject(f"file_process: {key} must be text")
    operation = data.setdefault("operation", "checksum")
    if operation not in OPERATIONS:
        raise Reject(
            f"file_process: unknown operation {operation[:40]!r}; known are {', '.join(OPERATIONS)}"
        )
    if "path" not in data:
        raise Reject("file_process: path is missing")
    if ("to" in data) != (operation == "copy"):
        raise Reject("file_process: copy needs to, the others take none")
    if "result_key" in data:
        _check_result_key(data["result_key"])
    return data


def _check_result_key(key: str) -> None:
    prefix = _config.results_prefix if _config else None
    if prefix is None:
        raise Reject("file_process: result_key is not allowed; set files.results_prefix")
    if not key.startswith(prefix) or key == prefix or len(key) > 512:
        raise Reject(f"file_process: result_key must begin with {prefix!r}")
    if _results is not None and not _results.allows(key):
        raise Reject("file_process: result_key names a key of the queue's own")


def _checksum(root: Folder, fields: dict[str, str], most: int) -> dict[str, Any]:
    with root.read(fields["path"], most) as source:
        return _summed(source)


def _count_lines(root: Folder, fields: dict[str, str], most: int) -> dict[str, Any]:
    with root.read(fields["path"], most) as source:
        lines, last = 0, b"\n"
        for chunk in source:
            lines += chunk.count(b"\n")
            last = chunk
        return {"lines": lines + (not last.endswith(b"\n")), "bytes": source.taken}


def _compress(root: Folder, fields: dict[str, str], most: int) -> dict[str, Any]:
    target = fields["path"] + ".gz"
    with root.read(fields["path"], most) as source, root.write(target) as out:
        # No name and no time inside: the same bytes come out of the same bytes.
        with gzip.GzipFile(filename="", fileobj=out, mode="wb", mtime=0) as packed:
            for chunk in source:
                packed.write(chunk)
        out.flush()
        return {"to": target, "bytes": source.taken, "packed_bytes": os.fstat(out.fileno()).st_size}


def _copy(root: Folder, fields: dict[str, str], most: int) -> dict[str, Any]:
    with root.read(fields["path"], most) as source, root.write(fields["to"]) as out:
        return {"to": fields["to"], **_summed(source, out.write)}


def _summed(source: Source, write: Callable[[bytes], object] = len) -> dict[str, Any]:
    digest = hashlib.sha256()
    for chunk in source:
        digest.update(chunk)
        write(chunk)
    return {"sha256": digest.hexdigest(), "bytes": source.taken}


OPERATIONS: dict[str, Callable[[Folder, dict[str, str], int], dict[str, Any]]] = {
    "checksum": _checksum,
    "count_lines": _count_lines,
    "compress": _compress,
    "copy": _copy,
}
