"""Drop the tasks that wait on the queue (asks first, or --yes)."""

from __future__ import annotations

import argparse
from typing import Any

from taskrig.config.sections import Config
from taskrig.errors import UsageError
from taskrig.frame.output import ask, remark
from taskrig.keys import Keys
from taskrig_loadgen.cli import options
from taskrig_loadgen.cli.live import run_loop
from taskrig_loadgen.connection import clear_errors, connected
from taskrig_loadgen.queueview import further_lists

EXAMPLE = "loadgen clear --yes"
SLICE = 10_000  # entries dropped at a time, so that Redis is never held long


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `loadgen clear`."""
    parser.add_argument("--yes", action="store_true", help="drop them without asking")


def run(args: argparse.Namespace) -> int:
    """`loadgen clear`: waiting tasks only; what runs, and dead letters, stay."""
    config = options.read_config(args)
    waiting = run_loop(_count(config))
    if not waiting:
        print(f"nothing waits on {config.queue.key!r}")
        return 0
    if not args.yes:
        agreed = ask(f"drop {waiting:,} waiting tasks from {config.queue.key!r}?")
        if agreed is None:
            raise UsageError(
                f"{waiting:,} tasks wait on {config.queue.key!r}: no terminal to ask; add --yes"
            )
        if not agreed:
            remark("nothing was dropped")
            return 1
    dropped = run_loop(_drop(config))
    print(f"dropped {dropped:,} waiting tasks from {config.queue.key!r}")
    return 0


async def _waiting_keys(client: Any, config: Config) -> list[tuple[str, str]]:
    keys = Keys.of(config.queue.key)
    return [
        (keys.queue, "list"),
        (keys.arrivals, "list"),
        (keys.redeliver, "list"),
        (keys.delayed, "zset"),
        *((key, "list") for key in await further_lists(client, keys)),
    ]


async def _count(config: Config) -> int:
    async with connected(config) as client:
        with clear_errors(config):
            return sum([await _length(client, *one) for one in await _waiting_keys(client, config)])


async def _length(client: Any, key: str, kind: str) -> int:
    return int(await (client.llen(key) if kind == "list" else client.zcard(key)))


async def _drop(config: Config) -> int:
    """Drop in slices, counting what each slice really removed; stops at what came meanwhile."""
    dropped = 0
    async with connected(config) as client:
        with clear_errors(config):
            for key, kind in await _waiting_keys(client, config):
                left = await _length(client, key, kind)
                while left > 0:
                    part = min(SLICE, left)
                    gone = await _take(client, key, kind, part)
                    dropped += gone
                    left -= part
                    if gone < part:
                        break
    return dropped


async def _take(client: Any, key: str, kind: str, count: int) -> int:
    if kind == "list":
        return len(await client.rpop(key, count) or ())
    return len(await client.zpopmin(key, count))
