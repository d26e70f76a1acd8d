"""Handlers in a worker whose OpenTelemetry SDK writes each span that ended to a file, as JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from tests.support.said import FOLDER
from worker import Retry, context, handler

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


@handler("charge_in_thread")
def charge_in_thread(data: dict[str, Any]) -> None:
    """The same in a thread."""
    with _tracer.start_as_current_span("ask the bank"):
        pass
