"""Run the same work on other task queues, side by side."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from benchmarks.peers.compare import compare
from benchmarks.peers.environments import Environments, cache_folder, newest_python
from benchmarks.peers.field import open_field
from benchmarks.peers.peer import NAMES
from benchmarks.peers.report import render
from benchmarks.peers.scenarios import RECOVER, SCENARIOS
from benchmarks.peers.server import own_server
from taskrig.config.load import load_config
from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig_loadgen.cli.console import report_console
from taskrig_loadgen.connection import open_redis
from taskrig_loadgen.result.store import check_target, write_file
from taskrig_loadgen.run.environment import describe_environment

EXAMPLE = "example: python -m benchmarks peers --only dramatiq,huey --scenarios drain100,pickup"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks peers`."""
    scenarios = [*(scenario.name for scenario in SCENARIOS), RECOVER]
    parser.add_argument(
        "--only",
        metavar="NAME,...",
        default=",".join(NAMES),
        help="peers, besides ours: all of " + ", ".join(NAMES),
    )
    parser.add_argument(
        "--scenarios",
        metavar="NAME,...",
        default=",".join(scenarios),
        help="in this order: " + ", ".join(scenarios),
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument(
        "--python",
        metavar="PATH",
        help="the interpreter of all environments (default: python3.13 "
        "or 3.12 from the PATH, else this one)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="of the environments (default: taskrig/peers in XDG_CACHE_HOME, else in ~/.cache)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        default=Path("results/peers.json"),
        help="where the result goes as JSON (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """`python -m benchmarks peers`: on a server of its own; nothing of yours is touched."""
    names = ["ours", *_listed(args.only, NAMES, "peer")]
    known = (*(scenario.name for scenario in SCENARIOS), RECOVER)
    scenarios = _listed(args.scenarios, known, "scenario")
    if args.rounds < 1:
        raise UsageError(f"--rounds must be at least 1, got {args.rounds}")
    environments = Environments(args.cache or cache_folder(), args.python or newest_python())
    if environments.version < (3, 11):
        raise UsageError(f"--python {args.python}: not a Python 3.11 or newer")
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {args.out.parent}: {error.strerror}") from None
    check_target(args.out)
    started = time.time()
    with own_server() as url, open_field(url, environments) as field:
        result = compare(field, names, scenarios, args.rounds, remark)
        result |= {
            "started": started,
            "took_s": time.time() - started,
            "environment": asyncio.run(_environment(url))
            | {"python": "CPython " + ".".join(map(str, environments.version))},
        }
    write_file(args.out, json.dumps(result, indent=1) + "\n")
    console = report_console()
    for part in render(result):
        console.print(part)
    remark(f"result: {args.out}")
    return 1 if any(row["failures"] for row in _rows_of_ours(result)) else 0


def _rows_of_ours(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for table in result["tables"] for row in table["rows"] if row["peer"] == "ours"]


def _listed(text: str, known: tuple[str, ...], what: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UsageError(f"no {what} {name!r}; there are {', '.join(known)}")
    return names


async def _environment(url: str) -> dict[str, Any]:
    config = load_config(None, env={}, sets=[f"redis.url={url}"])
    client = open_redis(config)
    try:
        found = asdict(await describe_environment(client, config))
    finally:
        await client.aclose()
    found.pop("redis_url", None)
    return found
