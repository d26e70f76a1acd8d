"""Runs rows in interleaved rounds and writes what they scored, with what they ran on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from benchmarks.bench import Bench
from benchmarks.peers.rounds import Samples, interleave
from benchmarks.scenarios import Row
from taskrig.config.load import load_config
from taskrig.errors import UsageError
from taskrig_loadgen.connection import open_redis
from taskrig_loadgen.run.environment import describe_environment

FORMAT, VERSION = "taskrig-bench", 1


def load_rows(all_rows: Sequence[Row], groups: Sequence[str]) -> list[Row]:
    """The rows of these groups (all of none), with the rows they are compared to.

    Raises:
        UsageError: there is no such group.
    """
    known = list(dict.fromkeys(row.group for row in all_rows))
    unknown = [group for group in groups if group not in known]
    if unknown:
        raise UsageError(f"no group {unknown[0]!r}; there are {', '.join(known)}")
    chosen = [row for row in all_rows if not groups or row.group in groups]
    needed = {row.against for row in chosen} - {row.name for row in chosen}
    return [*(row for row in all_rows if row.name in needed), *chosen]


def run(
    bench: Bench, rows: Sequence[Row], rounds: int, out: Path, say: Callable[[str], None]
) -> bool:
    """Measure, print and write; returns whether any row could not be measured."""
    started = time.time()
    by_name = {row.name: row for row in rows}
    say(f"{len(rows)} rows, {rounds} rounds, on {bench.url}")
    found = interleave(
        list(by_name),
        rounds,
        lambda name: by_name[name].measure(bench),
        told=lambda name, turn, value: say(
            f"  round {turn + 1}: {name}: {value:,.1f} {by_name[name].unit}"
        ),
    )
    lines = [_line(row, found) for row in rows]
    result = {
        "format": FORMAT,
        "version": VERSION,
        "started": started,
        "took_s": time.time() - started,
        "rounds": rounds,
        "environment": asyncio.run(environment(bench.url)),
        "rows": lines,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    for line in lines:
        say(_printed(line))
    return any(line["failures"] for line in lines)


def _line(row: Row, found: dict[str, Samples]) -> dict[str, Any]:
    samples = found[row.name]
    base = found[row.against].median if row.against else None
    return {
        "group": row.group,
        "name": row.name,
        "unit": row.unit,
        "median": samples.median,
        "spread": samples.spread,
        "values": samples.values,
        "against": row.against,
        "ratio": samples.median / base if samples.median is not None and base else None,
        "failures": samples.failures,
    }


def _printed(line: dict[str, Any]) -> str:
    if line["median"] is None:
        return f"{line['group']:<9}{line['name']:<46} not measured: {line['failures'][-1]}"
    low, high = line["spread"]
    ratio = f"  {line['ratio']:.2f} of {line['against']}" if line["ratio"] else ""
    return (
        f"{line['group']:<9}{line['name']:<46}{line['median']:>12,.1f} {line['unit']:<8}"
        f" ({low:,.1f} to {high:,.1f}){ratio}"
    )


async def environment(url: str) -> dict[str, Any]:
    """What the measurement ran on."""
    sets = [f"redis.url={url}"]
    config = load_config(None, env={}, sets=sets)
    client = open_redis(config)
    try:
        found = asdict(await describe_environment(client, config))
    finally:
        await client.aclose()
    found.pop("redis_url", None)
    return found
