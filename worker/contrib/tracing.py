"""OpenTelemetry spans around every handler: name this module in `handlers`, beside your own.

Needs the extra `taskrig[tracing]`, and an SDK that you set up (opentelemetry-instrument does). A
task's `traceparent` (W3C Trace Context) and `tracestate` are continued.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from opentelemetry import propagate, trace

from worker import Context, middleware

_tracer = trace.get_tracer("taskrig.worker")


@middleware
async def traced(at: Context, call: Callable[[], Awaitable[None]]) -> None:
    """A consumer span with the task's type; an exception is recorded in it."""
    attributes: dict[str, str | int] = {
        "messaging.system": "redis",
        "messaging.operation.type": "process",
        "messaging.message.id": at.task.id or at.tag,
        "taskrig.type": at.type,
        "taskrig.tag": at.tag,
        "taskrig.attempts": at.attempts,
        "taskrig.deliveries": at.deliveries,
    }
    with _tracer.start_as_current_span(
        f"process {at.type}",
        context=propagate.extract(at.task.trace or {}),
        kind=trace.SpanKind.CONSUMER,
        attributes=attributes,
    ):
        await call()
