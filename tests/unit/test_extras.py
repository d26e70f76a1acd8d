"""Resources, middleware and tracing, as handler authors use them."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from taskrig import Reject, context, handler, resource
from taskrig.authoring.extras import opened
from taskrig.authoring.registry import load_handlers
from taskrig.errors import TaskrigError
from taskrig.testing import run_task


async def test_resources_open_in_order_and_close_in_reverse():
    steps = []

    def make(name):
        async def one():
            steps.append(f"open {name}")
            yield name
            steps.append(f"close {name}")

        return resource(one)

    first, second = make("first"), make("second")
    async with opened([first, second], steps.append):
        assert (first.get(), second.get()) == ("first", "second")
    assert steps == ["open first", "open second", "close second", "close first"]
    with pytest.raises(RuntimeError, match="only while a worker runs"):
        first.get()


async def test_one_that_does_not_open_closes_the_others_and_is_named():
    steps = []

    async def good():
        yield 1
        steps.append("closed")

    async def bad():
        raise OSError("refused")
        yield

    with pytest.raises(
        TaskrigError, match=r"bad does not open: OSError: refused \(\S+test_extras.py:\d+\)$"
    ):
        async with opened([resource(good), resource(bad)], steps.append):
            raise AssertionError("never reached")
    assert steps == ["closed"]


async def test_one_that_is_cancelled_while_it_opens_does_not_open_unless_its_opener_is():
    async def gives_up():
        raise asyncio.CancelledError
        yield

    async def waits():
        await asyncio.sleep(60)
        yield

    async def open_it(one):
        async with opened([resource(one)], print):
            raise AssertionError("never reached")

    with pytest.raises(TaskrigError, match=r"gives_up does not open: CancelledError"):
        await open_it(gives_up)
    opening = asyncio.create_task(open_it(waits))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening


async def test_one_that_does_not_close_well_is_told_of():
    said = []

    async def bad():
        yield 1
        raise OSError("lost")

    async with opened([resource(bad)], said.append):
        pass
    lost = f"{__name__}.bad did not close well: OSError: lost"
    assert said == [f"{lost} ({__file__}:{bad.__code__.co_firstlineno + 2})"]


async def test_one_that_does_not_close_well_leaves_no_other_one_open():
    closed = []

    async def good():
        yield 1
        closed.append("good")

    async def bad():
        yield 2
        raise OSError("lost")

    at = f"({__file__}:{bad.__code__.co_firstlineno + 2})"

    async with opened([resource(good), resource(bad), resource(bad)], closed.append):
        pass
    lost = f"{__name__}.bad did not close well: OSError: lost {at}"
    assert closed == [lost, lost, "good"]


@handler("around")
def around(data):
    """A plain function in a thread."""
    if data == "reject":
        raise Reject("as asked")


async def test_middleware_runs_around_handlers_the_first_outermost():
    order = []

    def make(name):
        async def one(at, call):
            order.append(f"{name} {at.type} {context().tag}")
            try:
                await call()
            finally:
                order.append(f"after {name}")

        return one

    ran = await run_task(around, "reject", middleware=[make("outer"), make("inner")])
    assert ran.reason == "rejected"
    assert order == ["outer around test:1", "inner around test:1", "after inner", "after outer"]


async def test_an_object_can_be_middleware_and_a_strange_one_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "own_objects.py").write_text(
        "from functools import partial\n"
        "from taskrig import middleware\n"
        "class Around:\n"
        "    async def __call__(self, at, call):\n"
        "        await call()\n"
        "async def named(name, at, call):\n"
        "    await call()\n"
        "class Absent:\n"
        "    def __call__(self): ...\n"
        "    def __getattr__(self, name):\n"
        "        raise RuntimeError('outside of a request')\n"
        "around, tagged = middleware(Around()), middleware(partial(named, 'x'))\n"
        "request = Absent()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = load_handlers(["own_objects"]).middleware
    assert [type(one).__name__ for one in found] == ["Around", "partial"]
    assert (await run_task(around, middleware=found)).ok


async def test_a_handler_can_ask_for_its_retries_and_why_it_is_stopped():
    seen = []

    @handler("asks", retries=2, timeout_s=0.05)
    async def asks(data):
        at = context()
        seen.append((at.retries_left, at.stopped))
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(at.stopped)

    for attempt in (1, 2, 3):
        await run_task(asks, attempt=attempt)
    assert seen == [(2, ""), "timeout", (1, ""), "timeout", (0, ""), "timeout"]


async def test_what_middleware_raises_fails_the_task():
    async def refuses(at, call):
        raise ValueError("not today")

    ran = await run_task(around, middleware=[refuses])
    assert (ran.outcome, ran.error) == ("failed", "ValueError: not today")


@pytest.mark.parametrize("where", [0, 1, 2])
async def test_middleware_that_forgets_to_await_fails_the_task(where):
    async def passes_on(at, call):
        await call()

    async def forgets(at, call):
        call()

    layers = [passes_on] * 3
    layers[where] = forgets
    ran = await run_task(around, middleware=layers)
    assert (ran.outcome, "did not await" in ran.error) == ("failed", True)
    assert (await run_task(around, middleware=[passes_on] * 3)).ok


async def test_middleware_may_leave_a_task_out():
    async def leaves_out(at, call):
        pass

    assert (await run_task(around, "reject", middleware=[leaves_out])).ok


async def test_a_trace_goes_on_from_the_producer_to_a_span_of_the_handler():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    (traced,) = load_handlers(["taskrig.contrib.tracing"]).middleware

    @handler("traced")
    async def inside(data):
        with trace.get_tracer("mine").start_as_current_span("inner"):
            if data.get("fail"):
                raise ValueError("as asked")

    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert (await run_task(inside, middleware=[traced], traceparent=parent)).ok
    await run_task(inside, {"fail": True}, middleware=[traced])
    inner, outer, _, failed = exporter.get_finished_spans()
    assert f"{outer.context.trace_id:032x}" == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert f"{outer.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert (inner.parent.span_id, inner.context.trace_id) == (
        outer.context.span_id,
        outer.context.trace_id,
    )
    assert (outer.name, outer.kind) == ("process traced", trace.SpanKind.CONSUMER)
    assert not failed.status.is_ok
    assert failed.parent is None
