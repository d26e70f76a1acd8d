"""A trace goes from a producer through Redis and a worker's process to a handler's span."""

from __future__ import annotations

import json

from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.waiting import until

HANDLERS = ["tests.support.traced_handlers", "taskrig.contrib.tracing"]


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


def test_a_batch_is_one_span_with_a_link_to_each_producer(world):
    shop = Shop()
    produced = [ids(shop.enqueue(world, "charge_all", amount=amount)) for amount in (5, 0)]
    world.enqueue("charge_all", amount=7)
    world.start_worker(handlers=HANDLERS)
    world.all_settled()
    (span,) = until(lambda: spans(world))
    assert span["name"] == "process charge_all" and span["parent_id"] is None
    links = [(one["context"]["trace_id"], one["context"]["span_id"]) for one in span["links"]]
    assert sorted(links) == sorted(produced)
    attributes = span["attributes"]
    assert attributes["messaging.batch.message_count"] == 3
    assert (attributes["taskrig.outcome"], attributes["taskrig.reason"]) == ("failed", "error")
    assert "1 of the batch's tasks failed; task 1: ValueError: 0" in span["status"]["description"]


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


# -- runs that do not succeed --------------------------------------------------------------------


def ended(world, type_):
    """What the spans of a type's runs say: outcome, reason and status of each."""
    return [
        (
            span["attributes"]["taskrig.outcome"],
            span["attributes"].get("taskrig.reason"),
            span["status"].get("status_code"),
            span["status"].get("description", ""),
        )
        for span in spans(world)
        if span["name"] == f"process {type_}"
    ]


def outcomes(world):
    """Outcome and reason of each dead letter."""
    return [(one["outcome"].decode(), one["reason"].decode()) for one in world.dead()]


TIMEOUT = ("timeout", "ERROR", "timeout: it ran into its timeout")
RELEASED = ("released", "released", "ERROR", "released: its worker ended; the task runs again")


def test_the_span_of_a_run_that_succeeds_says_so_and_nothing_else(world):
    world.start_worker(handlers=HANDLERS)
    world.enqueue("charge", amount=1)
    world.all_settled()
    assert ended(world, "charge") == [("succeeded", None, "UNSET", "")]


def test_the_span_of_a_timed_out_run_says_so(world):
    world.start_worker(handlers=HANDLERS)
    world.enqueue("hurry", s=60)
    world.enqueue("hurry", s=60, untidy=True)  # what it raises meanwhile changes nothing
    world.enqueue("hurry_in_thread", s=1)
    world.enqueue("hurry_twice", s=60)
    world.all_settled()
    assert ended(world, "hurry") == [("failed", *TIMEOUT)] * 2
    assert ended(world, "hurry_in_thread") == [("failed", *TIMEOUT)]
    assert ended(world, "hurry_twice") == [("retried", *TIMEOUT), ("failed", *TIMEOUT)]
    assert outcomes(world) == [("failed", "timeout")] * 4


def test_the_span_of_a_cancelled_run_says_so(world, type_in):
    world.start_worker(handlers=HANDLERS)
    world.enqueue("wait", s=60)
    [tag] = until(lambda: [tag.decode() for tag in world.redis.hkeys(world.keys.inflight)])
    type_in("cancel", tag)
    world.all_settled()
    [said] = ended(world, "wait")
    assert said == ("dead", "cancelled", "ERROR", "cancelled: an operator cancelled it")
    assert outcomes(world) == [("dead", "cancelled")]


def test_the_span_of_a_released_run_says_so_also_of_a_handler_that_will_not_stop(world):
    worker = world.start_worker(handlers=HANDLERS)
    world.enqueue("wait", s=60)
    world.enqueue("deaf")
    until(lambda: world.in_flight() == 2)
    worker.terminate()
    worker.logged("draining")
    worker.terminate()
    worker.ends_well(10)
    assert ended(world, "wait") == [RELEASED]
    assert ended(world, "deaf") == [RELEASED]
    assert world.waiting() == 2


def test_the_span_of_a_failed_run_says_how(world):
    world.start_worker(handlers=HANDLERS)
    world.enqueue("charge", amount=1, fail=True)
    world.all_settled()
    assert ended(world, "charge")[0] == (
        "retried",
        "error",
        "ERROR",
        "error: Retry: the bank is busy",
    )
    for kind in ("error", "reject", "exit", "unspeakable", "surrogate"):
        world.enqueue("fail", kind=kind)
        world.all_settled()
    assert ended(world, "fail") == [
        ("failed", "error", "ERROR", "error: ValueError: no funds"),
        ("failed", "rejected", "ERROR", "rejected: Reject: no such card"),
        ("failed", "error", "ERROR", "error: SystemExit: 3"),
        ("failed", "error", "ERROR", "error: Unspeakable (its message cannot be had)"),
        ("failed", "error", "ERROR", "error: ValueError: a\\udcffb"),
    ]
    assert [reason for _, reason in outcomes(world)] == ["error", "rejected", *["error"] * 3]
    failed = [span for span in spans(world) if span["name"] == "process fail"]
    [event] = failed[0]["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "ValueError"
    assert "in fail" in event["attributes"]["exception.stacktrace"]
    kinds = [span["attributes"]["error.type"].rpartition(".")[2] for span in failed]
    assert kinds == ["ValueError", "Reject", "SystemExit", "Unspeakable", "ValueError"]
