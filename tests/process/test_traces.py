"""A trace goes from a producer through Redis and a worker's process to a handler's span."""

from __future__ import annotations

import json

from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.waiting import until

HANDLERS = ["tests.support.traced_handlers", "worker.contrib.tracing"]


def spans(world):
    """What the worker's exporter has written."""
    path = world.folder / "spans"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


class Shop:
    """A producer with an SDK of its own."""

    def __init__(self) -> None:
        self.exported = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exported))
        self.tracer = provider.get_tracer("shop")

    def enqueue(self, world, type_, **data):
        """Push a task inside a span; returns the span as it was exported."""
        with self.tracer.start_as_current_span("place order", kind=trace.SpanKind.PRODUCER):
            task = {"type": type_, "data": data, "id": "order-7"}
            propagate.inject(task)
            world.push(json.dumps(task))
        return self.exported.get_finished_spans()[-1]


def ids(span):
    return f"0x{span.context.trace_id:032x}", f"0x{span.context.span_id:016x}"


def test_the_handlers_span_is_in_the_producers_trace(world):
    world.start_worker(handlers=HANDLERS)
    for type_ in ("charge", "charge_in_thread"):
        trace_id, produced = ids(Shop().enqueue(world, type_, amount=5))
        world.all_settled()
        inner, outer = spans(world)[-2:]
        assert (outer["name"], outer["kind"]) == (f"process {type_}", "SpanKind.CONSUMER")
        assert (outer["context"]["trace_id"], outer["parent_id"]) == (trace_id, produced)
        assert (inner["name"], inner["context"]["trace_id"]) == ("ask the bank", trace_id)
        assert inner["parent_id"] == outer["context"]["span_id"]
        assert outer["attributes"]["messaging.message.id"] == "order-7"
        assert outer["resource"]["attributes"]["service.name"] == "the worker under test"


def test_a_retry_after_a_kill_is_in_the_same_trace_and_says_which_attempt_it_is(world):
    doomed = world.start_worker("doomed", handlers=HANDLERS)
    trace_id, produced = ids(Shop().enqueue(world, "charge", amount=5, fail=True))
    until(lambda: len(spans(world)) >= 2, what="the first attempt has ended")
    doomed.kill()  # before or after its outcome was settled: then a delivery more is seen
    world.start_worker("other", handlers=HANDLERS)
    world.all_settled()
    outer = [span for span in spans(world) if span["name"] == "process charge"]
    assert {span["context"]["trace_id"] for span in outer} == {trace_id}
    assert {span["parent_id"] for span in outer} == {produced}
    assert outer[0]["status"]["status_code"] == "ERROR"
    assert outer[0]["events"][0]["attributes"]["exception.message"] == "the bank is busy"
    assert outer[-1]["status"]["status_code"] == "UNSET"
    assert outer[-1]["attributes"]["taskrig.attempts"] == 2


def test_a_task_without_a_trace_begins_one(world):
    world.start_worker(handlers=HANDLERS)
    world.enqueue("charge", amount=1)
    world.enqueue("charge", amount=1, extra={"traceparent": "no trace at all"})
    world.all_settled()
    outer = [span for span in spans(world) if span["name"] == "process charge"]
    assert [span["parent_id"] for span in outer] == [None, None]
    assert len({span["context"]["trace_id"] for span in outer}) == 2
