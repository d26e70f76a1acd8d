"""Runs inside a peer's environment: `python -m benchmarks.peers.inside NAME work|push ...`.

push KIND COUNT one|many|RATE [VALUE,VALUE...]   prints {"count", "took_s"}; with a RATE (per
second) every task is stamped with the moment just before its push.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.peer import Producer


def main(argv: Sequence[str]) -> None:
    """Do what the command line says."""
    name, what, *rest = argv
    adapter: Any = importlib.import_module(f"benchmarks.peers.{name}")
    _use_uvloop()
    if what == "work":
        adapter.run_worker()
        return
    kind, count, how = rest[0], int(rest[1]), rest[2]
    values = [float(text) for text in rest[3].split(",")] if len(rest) > 3 else [0.0]
    took_s = asyncio.run(_push(adapter, kind, count, how, values))
    sys.stdout.write(json.dumps({"count": count, "took_s": took_s}) + "\n")


async def _push(adapter: Any, kind: str, count: int, how: str, values: list[float]) -> float:
    producer: Producer = await adapter.open_producer()
    every = [values[n % len(values)] for n in range(count)]
    before = time.monotonic()
    if how == "many":
        await producer.many(kind, every)
    elif how == "one":
        for value in every:
            await producer.one(kind, value)
    else:
        await _push_stamped(producer, kind, count, float(how))
    took_s = time.monotonic() - before
    await producer.close()
    return took_s


async def _push_stamped(producer: Producer, kind: str, count: int, per_s: float) -> None:
    start = time.monotonic()
    for n in range(count):
        due = start + n / per_s
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await producer.one(kind, time.monotonic())


def _use_uvloop() -> None:
    try:
        import uvloop
    except ImportError:
        return
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


if __name__ == "__main__":
    main(sys.argv[1:])
