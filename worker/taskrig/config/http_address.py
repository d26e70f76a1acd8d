"""Where a worker's HTTP port is, read without pydantic: `worker healthcheck` runs often."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath

from taskrig.config.layers import env_layer, set_layer
from taskrig.config.raw import Layer, Problem, merged, value_at
from taskrig.errors import UsageError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 9464
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}


def host_and_port(host: str, port: int) -> str:
    """Both as they stand in a URL: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def http_address(
    path: FilePath | None, env: Mapping[str, str], sets: Sequence[str]
) -> tuple[str, int]:
    """Host and port to ask, from the same layers as the configuration itself.

    Only `http.*` is looked at: a worker that runs has had the rest checked.

    Raises:
        UsageError: the file cannot be read, or there is no port to ask.
    """
    layer, problems = Layer(), list[Problem]()
    if path is None and os.path.lexists("config.yaml"):
        path = FilePath("config.yaml")
    if path is not None:
        from taskrig.config.document import read_file  # needs PyYAML

        layer, problems = read_file(path, env)
    upper, found = set_layer(sets)
    problems += found
    if problems:
        raise UsageError(problems[0].line())
    layer = merged(merged(layer, env_layer(env)), upper)
    if str(value_at(layer.values, ("http", "enabled"))).strip().lower() in ("false", "no", "off"):
        raise UsageError("http.enabled is false: there is nothing to ask")
    host = str(value_at(layer.values, ("http", "host")) or DEFAULT_HOST).strip("[]")
    port = value_at(layer.values, ("http", "port"))
    return _ANYWHERE.get(host, host), _port(DEFAULT_PORT if port is None else port)


def _port(written: object) -> int:
    text = str(written).strip()
    port = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1
    if port == 0:
        raise UsageError("http.port is 0, so the worker picked one; give --set http.port=NUMBER")
    if not 1 <= port <= 65535:
        raise UsageError("http.port must be a whole number from 1 to 65535")
    return port
