"""The hot path taken apart: each part alone, in this process, in microseconds a task."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from benchmarks.bench import QUEUE, Bench
from taskrig.authoring.registry import load_handlers
from taskrig.broker import Address, Broker
from taskrig.config.load import load_config
from taskrig.engine.dispositions import SUCCEEDED
from taskrig.engine.execution import Execution, Pipeline, call_handler
from taskrig.engine.policies import Policies
from taskrig.metrics import Metrics
from taskrig.task import Delivery, Outcome, Settlement, decode

Part = Callable[[Bench], Coroutine[Any, Any, tuple[float, int]]]  # seconds, and for how many tasks

BATCH = 100
TURNS = 200
ITEM = b'{"type": "noop", "data": {"text": ""}}'
HANDLERS = ["taskrig.handlers"]  # the demo's noop: without the clock that the drains carry


def measure_part(bench: Bench, name: str) -> float:
    """Microseconds a task that this part costs."""
    measured: tuple[float, int] = uvloop.run(PARTS[name](bench))
    took_s, tasks = measured
    return took_s / tasks * 1e6


def scrape_ms(bench: Bench) -> float:
    """CPU that rendering /metrics once costs, in milliseconds."""
    types = [entry.label for entry in load_handlers(HANDLERS).entries()]
    metrics = Metrics(types, 100, "0", "0")
    before = time.thread_time()
    for _ in range(50):
        metrics.expose("text/plain")
    return (time.thread_time() - before) / 50 * 1000


def _decoding(payload_bytes: int) -> Part:
    async def measure(bench: Bench) -> tuple[float, int]:
        raw = json.dumps({"type": "noop", "data": {"text": "x" * payload_bytes}}).encode()
        count = 20_000 if payload_bytes < 10_000 else 1_000
        before = time.perf_counter()
        for _ in range(count):
            decode(raw)
        return time.perf_counter() - before, count

    return measure


async def _never(*_: object) -> None:
    raise AssertionError("no handler here is a plain function")


async def _executing(bench: Bench) -> tuple[float, int]:
    pipeline = Pipeline(Policies(load_handlers(HANDLERS), {}))

    async def run(execution: Execution) -> None:
        await call_handler(execution, (None,), (), _never)
        execution.disposition = SUCCEEDED

    create_task = asyncio.get_running_loop().create_task
    before = time.perf_counter()
    for _ in range(TURNS):
        tasks = []
        for n in range(BATCH):
            execution = Execution(Delivery(f"part:{n}", ITEM))
            pipeline.prepare(execution)
            tasks.append(create_task(run(execution)))
        await asyncio.wait(tasks)
    return time.perf_counter() - before, TURNS * BATCH


def _exchanging(claims: bool, settles: bool) -> Part:
    """Only the part asked for is timed; the other half is done between."""

    async def measure(bench: Bench) -> tuple[float, int]:
        bench.push("noop", TURNS * BATCH)
        config = load_config(
            env={},
            sets=[f"redis.url={bench.url}", f"queue.key={QUEUE}", "handlers=[taskrig.handlers]"],
        )
        broker = Broker(config, "part", Address(config.redis, QUEUE, "bench"))
        held: list[Settlement] = []
        took_s, first = 0.0, 1
        for _ in range(TURNS + settles):
            if settles and not claims:
                held, first = await _claim(broker, [], first)
            before = time.perf_counter()
            if claims:
                held, first = await _claim(broker, held if settles else [], first)
            else:
                await broker.exchange(held, 0, first, 0, False)
            took_s += time.perf_counter() - before
            if claims and not settles:
                await broker.exchange(held, 0, first, 0, False)
        await broker.close()
        return took_s, TURNS * BATCH

    return measure


async def _claim(
    broker: Broker, settled: list[Settlement], first: int
) -> tuple[list[Settlement], int]:
    reply = await broker.exchange(settled, BATCH, first, 0, False)
    held = [Settlement(delivery.tag, Outcome.SUCCEEDED) for delivery in reply.deliveries]
    return held, first + len(held)


PARTS: dict[str, Part] = {
    "decode, 100 B": _decoding(100),
    "decode, 1 KiB": _decoding(1024),
    "decode, 64 KiB": _decoding(65_536),
    "execute (decode, find, start, run)": _executing,
    "exchange: claim 100": _exchanging(True, False),
    "exchange: settle 100": _exchanging(False, True),
    "exchange: settle 100 and claim 100": _exchanging(True, True),
}
