"""`worker healthcheck`: ask a running worker, for images without curl.

Imports nothing from outside the standard library unless a config file or --set must be read
(then PyYAML), so that a check every few seconds costs little.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskrig.config.sources import of_environment
from taskrig.errors import UsageError
from taskrig.frame.parser import Commands, command, seconds
from taskrig.frame.settings import config_file
from taskrig.places import Problem, Written
from taskrig.texts import host_and_port

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 9464
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}

EXAMPLES = """\
examples:
  worker healthcheck                      is it alive (/livez)?
  worker healthcheck --ready              does it take tasks (/readyz)?
  worker healthcheck --set http.port=9465
in a Dockerfile:
  HEALTHCHECK CMD ["worker", "healthcheck"]
exit codes: 0 yes, 1 no or no answer"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "healthcheck",
        execute,
        about="ask the worker on this machine whether it is alive (or ready)",
        examples=EXAMPLES,
    )
    parser.add_argument(
        "--ready",
        action="store_true",
        help="ask whether it is ready (/readyz) instead of alive (/livez)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds(0.1, 3600),
        default=3.0,
        metavar="TIME",
        help="time to wait for the answer (default 3s)",
    )


def execute(args: argparse.Namespace) -> int:
    """Returns 0 when the worker answers yes, else 1: Docker reserves the other codes."""
    path = "/readyz" if args.ready else "/livez"
    try:
        host, port = http_address(config_file(args), os.environ, args.config_sets)
        status, body = _get(host, port, path, args.timeout)
    except UsageError as error:
        print(f"worker: {error}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:  # ValueError: a host name that cannot be
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        where = host_and_port(host, port)
        print(f"worker: no answer from {where}{path}: {reason}", file=sys.stderr)
        return 1
    print(f"{path} {status}: {body}" if body else f"{path} {status}")
    return 0 if status == 200 else 1


def http_address(path: Path | None, env: Mapping[str, str], sets: Sequence[str]) -> tuple[str, int]:
    """Host and port to ask, from the same layers as the configuration itself.

    Only `http.*` is looked at: a worker that runs has had the rest checked.

    Raises:
        UsageError: the file cannot be read, or there is no port to ask.
    """
    if path is None and os.path.lexists("config.yaml"):
        path = Path("config.yaml")
    file, settings, problems = list[Written](), list[Written](), list[Problem]()
    if path is not None or sets:
        from taskrig.config.yaml import of_sets  # needs PyYAML
        from taskrig.documents import read_file

        file, problems = read_file(path, env) if path is not None else ([], [])
        settings = of_sets(sets, problems)
    if problems:
        raise UsageError(problems[0].line())
    http: dict[str, Any] = {}
    for written in (*file, *of_environment(env), *settings):
        values: Any = written.value
        for key in reversed(written.path):
            values = {key: values}
        section = values.get("http") or {}
        if not isinstance(section, dict):
            wrong = "must hold keys of its own, such as http.port"
            raise UsageError(written.place_of(("http",)).problem(("http",), wrong).line())
        http |= section
    if str(http.get("enabled")).strip().lower() in ("false", "no", "off"):
        raise UsageError("http.enabled is false: there is nothing to ask")
    host = http.get("host") or DEFAULT_HOST
    if not isinstance(host, str):
        raise UsageError("http.host must be text")
    host = host.strip("[]")
    port = http.get("port")
    return _ANYWHERE.get(host, host), _port(DEFAULT_PORT if port is None else port)


def _port(written: object) -> int:
    text = str(written).strip()
    port = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1
    if port == 0:
        raise UsageError("http.port is 0, so the worker picked one; give --set http.port=NUMBER")
    if not 1 <= port <= 65535:
        raise UsageError("http.port must be a whole number from 1 to 65535")
    return port


def _get(host: str, port: int, path: str, timeout_s: float) -> tuple[int, str]:
    """The status and the first line of the body; raises OSError when none comes in time."""
    deadline = time.monotonic() + timeout_s
    with socket.create_connection((host, port), timeout=timeout_s) as connection:
        name = host_and_port(host, port)
        request = f"GET {path} HTTP/1.0\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("ascii", "replace"))
        answer = b""
        while len(answer) < 65536:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"not complete within {timeout_s:g} s")
            connection.settimeout(left_s)
            chunk = connection.recv(65536)
            if not chunk:
                break
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise OSError("that is not HTTP; does another program listen there?")
    line = body.decode("utf-8", "replace").strip().partition("\n")[0]
    return int(words[1]), "".join(c for c in line[:200] if c.isprintable())
