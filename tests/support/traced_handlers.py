"""Handlers in a worker whose OpenTelemetry SDK writes each span that ended to a file, as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from taskrig import BatchFailed, Reject, Retry, Task, context, handler
from tests.support.said import FOLDER

_file = (FOLDER / "spans").open("a")
_provider = TracerProvider(resource=Resource.create({"service.name": "the worker under test"}))
_provider.add_span_processor(
    SimpleSpanProcessor(
        ConsoleSpanExporter(
            out=_file, formatter=lambda span: json.dumps(json.loads(span.to_json())) + "\n"
        )
    )
)
trace.set_tracer_provider(_provider)
_tracer = trace.get_tracer("handlers")


@handler("charge", retries=1, backoff_s=0.0)
async def charge(data: dict[str, Any]) -> None:
    """Has a span of its own; fails once where it is asked to."""
    with _tracer.start_as_current_span("ask the bank", attributes={"amount": data["amount"]}):
        await asyncio.sleep(0.01)
        if data.get("fail") and context().attempts == 1:
            raise Retry("the bank is busy")


@handler("charge_all", batch=3, linger_s=5)
async def charge_all(tasks: list[Task]) -> None:
    """Charges several orders with one call; fails those whose amount is 0."""
    raise BatchFailed({i: ValueError("0") for i, one in enumerate(tasks) if not one.data["amount"]})


@handler("wait", timeout_s=60)
@handler("hurry", timeout_s=0.2)
@handler("hurry_twice", timeout_s=0.2, retries=1, backoff_s=0.0)
async def wait(data: dict[str, Any]) -> None:
    """Waits; raises another error than its cancellation where it is asked to."""
    try:
        await asyncio.sleep(data["s"])
    except asyncio.CancelledError:
        if data.get("untidy"):
            raise ValueError("could not tidy up") from None
        raise


@handler("hurry_in_thread", timeout_s=0.2)
def hurry_in_thread(data: dict[str, Any]) -> None:
    """Outlives its timeout."""
    time.sleep(data["s"])


@handler("deaf")
async def deaf(data: dict[str, Any]) -> None:
    """Cannot be stopped."""
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)


class Unspeakable(Exception):
    """Has no message."""

    def __str__(self) -> str:
        raise RuntimeError("no message for you")


@handler("fail")
async def fail(data: dict[str, Any]) -> None:
    """Fails in the way it is asked to."""
    kinds: dict[str, BaseException] = {
        "error": ValueError("no funds"),
        "reject": Reject("no such card"),
        "exit": SystemExit(3),
        "unspeakable": Unspeakable(),
        "surrogate": ValueError("a\udcffb"),
    }
    raise kinds[data["kind"]]


@handler("charge_in_thread")
def charge_in_thread(data: dict[str, Any]) -> None:
    """The same in a thread."""
    with _tracer.start_as_current_span("ask the bank"):
        pass
