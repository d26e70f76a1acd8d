"""OpenTelemetry spans around every handler: name this module in `handlers`, beside your own.

Needs the extra `taskrig[tracing]`, and an SDK that you set up (opentelemetry-instrument does). A
task's `traceparent` (W3C Trace Context) and `tracestate` are continued.

A span says what became of its run: `taskrig.outcome` (succeeded, failed, retried, dead, released)
and, unless it succeeded, `taskrig.reason` (error, rejected, timeout, cancelled, released) with
status ERROR and a description. What the handler raised is an event `exception`. A batch is one
span, with a link to the trace of each of its tasks.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, Status, StatusCode

from taskrig import Context, Reject, middleware, resource
from taskrig.errors import describe
from taskrig.runtime.tracebacks import trace as traceback_of

_tracer = trace.get_tracer("taskrig.worker")
_open: dict[Span, Context] = {}  # of runs that go on

FLUSH_S = 0.4  # how long the end of a worker waits for the last spans to be exported
_STOPPED = {
    "timeout": "it ran into its timeout",
    "cancelled": "an operator cancelled it",
    "released": "its worker ended; the task runs again",
}


@middleware
async def traced(at: Context, call: Callable[[], Awaitable[None]]) -> None:
    """A consumer span with the task's type and what became of the run."""
    with _tracer.start_as_current_span(
        f"process {at.type}",
        context=None if at.is_batch else propagate.extract(at.task.trace or {}),
        kind=trace.SpanKind.CONSUMER,
        links=_links(at) if at.is_batch else None,
        attributes=_attributes(at),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        _open[span] = at
        try:
            await call()
            span.set_attribute("taskrig.outcome", "succeeded")
        except BaseException as fault:
            _tell(span, at, fault)
            raise
        finally:
            _open.pop(span, None)


def _attributes(at: Context) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "messaging.system": "redis",
        "messaging.operation.type": "process",
        "taskrig.type": at.type,
    }
    if at.is_batch:
        return attributes | {"messaging.batch.message_count": len(at.each)}
    return attributes | {
        "messaging.message.id": at.task.id or at.tag,
        "taskrig.tag": at.tag,
        "taskrig.attempts": at.attempts,
        "taskrig.deliveries": at.deliveries,
    }


def _links(at: Context) -> list[trace.Link]:
    """To the spans that produced a batch's tasks: one span cannot continue them all."""
    contexts = [propagate.extract(one.task.trace) for one in at.each if one.task.trace]
    produced = [trace.get_current_span(one).get_span_context() for one in contexts]
    return [trace.Link(one) for one in produced if one.is_valid]


@resource
async def spans() -> AsyncIterator[None]:
    """At the worker's end: end the spans of handlers that would not stop, and export the last."""
    yield
    for span, at in list(_open.items()):
        _tell(span, at, None)
        span.end()
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)  # an SDK's has it
    if flush is None:
        return
    # A daemon: an exporter whose collector is away must not hold the exit.
    flushing = threading.Thread(target=flush, args=(int(FLUSH_S * 1000),), daemon=True)
    flushing.start()
    deadline = time.monotonic() + FLUSH_S
    while flushing.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110 - a thread
        await asyncio.sleep(0.01)


def _tell(span: Span, at: Context, fault: BaseException | None) -> None:
    """Say in the span how a run ended that did not succeed."""
    outcome, reason, text = _judged(at, fault)
    span.set_attributes({"taskrig.outcome": outcome, "taskrig.reason": reason})
    if fault is None or (isinstance(fault, asyncio.CancelledError) and at.stopped):
        span.set_attribute("error.type", reason)
    else:
        name = f"{type(fault).__module__}.{type(fault).__qualname__}".removeprefix("builtins.")
        span.set_attribute("error.type", name)
        _, _, message = describe(fault).partition(": ")
        stack = traceback_of(fault).text or describe(fault)
        span.add_event(
            "exception",
            {"exception.type": name, "exception.message": message, "exception.stacktrace": stack},
        )
    span.set_status(Status(StatusCode.ERROR, f"{reason}: {text}"))


def _judged(at: Context, fault: BaseException | None) -> tuple[str, str, str]:
    """Outcome, reason and text, as the worker is about to judge this run."""
    rejected = isinstance(fault, Reject)
    stopped = at.stopped or ("released" if fault is None else "")  # None: it is left behind
    if stopped == "cancelled":
        return "dead", stopped, _STOPPED[stopped]
    if stopped == "released" and not rejected:
        return "released", stopped, _STOPPED[stopped]
    failed = "retried" if any(one.retries_left for one in at.each) else "failed"
    if stopped == "timeout":
        return failed, stopped, _STOPPED[stopped]
    assert fault is not None
    if rejected:
        return "failed", "rejected", describe(fault)
    return failed, "error", describe(fault)
