"""taskrig.testing runs a task as the worker would."""

from __future__ import annotations

import asyncio
import time

import pytest

from taskrig import BatchFailed, Reject, context, handler, middleware
from taskrig.config.sections import TaskConfig
from taskrig.testing import in_fake_time, run_batch, run_task


@handler("kit", retries=1, expires_s=60)
async def kit(data):
    """Does what `data` asks for."""
    if data.get("fail"):
        raise ValueError("as asked")
    await asyncio.sleep(data.get("s", 0))


@handler("plain")
def plain(data):
    """A plain function."""
    if not context().draining or context().deliveries != 2:
        raise ValueError("not what was asked for")


async def test_what_succeeds_and_what_fails():
    assert (await run_task(kit)).ok
    first = await run_task(kit, {"fail": True})
    assert first.outcome == "retried"
    assert 0 <= first.retry_after_s <= 1.0
    last = await run_task(kit, {"fail": True}, attempt=2)
    assert (last.outcome, last.error) == ("failed", "ValueError: as asked")


async def test_a_failed_run_has_the_traceback_that_its_dead_letter_would_have():
    ran = await run_task(kit, {"fail": True}, attempt=2)
    assert f'File "{__file__}"' in ran.traceback
    assert 'in kit\n    raise ValueError("as asked")\nValueError: as asked' in ran.traceback
    assert (await run_task(kit)).traceback == ""


async def test_a_plain_function_has_the_context_that_was_asked_for():
    assert (await run_task(plain, delivery=2, draining=True)).ok
    assert not (await run_task(plain)).ok


async def test_the_clock_of_the_server_can_be_given():
    assert (await run_task(kit, enqueued_at=100.0, now=159.0)).ok
    assert (await run_task(kit, enqueued_at=100.0, now=161.0)).reason == "expired"
    assert (await run_task(kit, run_at=200.0, now=161.0)).outcome == "delayed"


async def test_settings_of_the_config_go_before_the_decorator():
    settings = TaskConfig(retries=0, timeout_s=0.01)
    ran = await run_task(kit, {"s": 5}, settings=settings)
    assert (ran.outcome, ran.reason) == ("failed", "timeout")


def test_in_fake_time_an_hour_takes_no_time():
    began = time.monotonic()
    ran = in_fake_time(run_task(kit, {"s": 3600}))
    assert ran.ok
    assert 3600 <= ran.took_s < 3605
    assert time.monotonic() - began < 2


async def test_the_test_itself_has_no_context_afterwards():
    await run_task(kit)
    with pytest.raises(RuntimeError, match="only while a handler runs"):
        context()


async def test_what_is_no_handler_is_refused():
    with pytest.raises(ValueError, match="is not a handler"):
        await run_task(len)


@handler("in_thread", timeout_s=10)
def in_thread(data):
    """A plain function that takes a while."""
    time.sleep(0.05)


@handler("to_thread", timeout_s=10)
async def to_thread(data):
    """A coroutine that waits for a thread, then long for nothing."""
    await asyncio.to_thread(time.sleep, 0.05)
    await asyncio.sleep(data.get("s", 0))


def test_in_fake_time_the_clock_does_not_jump_while_a_thread_works():
    assert in_fake_time(run_task(in_thread)).ok
    assert in_fake_time(run_task(to_thread)).ok
    late = in_fake_time(run_task(to_thread, {"s": 11}))
    assert (late.reason, round(late.took_s)) == ("timeout", 10)


def _wrapped(function):
    return lambda data: function(data)


async def test_a_plain_function_that_returns_a_coroutine_has_not_succeeded():
    ran = await run_task(handler("wrapped")(_wrapped(_inner)))
    assert ran.outcome == "failed"
    assert "async def" in ran.error


async def _inner(data):
    raise AssertionError("never awaited")


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_handler_that_yields_is_refused(kind):
    names = {}
    exec(f"{kind} yields(data):\n    yield data", names)
    with pytest.raises(ValueError, match="must not yield"):
        handler("yields")(names["yields"])


@handler("batched", batch=3, retries=1, backoff_s=0, expires_s=60, timeout_s=5)
async def batched(tasks):
    """Fails those whose data say so."""
    seen.append([(one.task.data, one.attempts, one.tag) for one in context().each])
    await asyncio.sleep(max(task.data for task in tasks) - 100)
    raise BatchFailed({i: Reject("low") for i, task in enumerate(tasks) if task.data < 0})


@handler("batched_in_a_thread", batch=3)
def batched_in_a_thread(tasks):
    """Fails as a whole."""
    raise KeyError(context().type)


seen = []


@middleware
async def around_batches(at, call):
    """Notes how many tasks it runs around."""
    seen.append(len(at.each))
    await call()


async def test_a_batch_is_run_with_one_call_and_each_task_has_its_end():
    seen.clear()
    rans = await run_batch(batched, [1, -2, 3], attempt=2, middleware=[around_batches])
    assert [(one.outcome, one.reason) for one in rans] == [
        ("succeeded", ""),
        ("failed", "rejected"),
        ("succeeded", ""),
    ]
    assert seen == [3, [(1, 2, "test:1"), (-2, 2, "test:2"), (3, 2, "test:3")]]


async def test_an_error_of_a_plain_function_fails_each_of_its_batch():
    rans = await run_batch(batched_in_a_thread, [1, 2])
    assert [one.error for one in rans] == ["KeyError: 'batched_in_a_thread'"] * 2
    assert all("batched_in_a_thread" in one.traceback for one in rans)


async def test_a_task_that_would_not_run_is_not_in_the_batch():
    seen.clear()
    fields = [{"enqueued_at": 100.0}, {"enqueued_at": 200.0}]
    rans = await run_batch(batched, [1, 2], fields=fields, now=210.0)
    assert [one.reason or one.outcome for one in rans] == ["expired", "succeeded"]
    assert [[data for data, _, _ in one] for one in seen] == [[2]]


def test_a_timeout_of_a_batch_is_one_for_all():
    rans = in_fake_time(run_batch(batched, [1, 200]))
    assert [(one.outcome, one.retry_after_s) for one in rans] == [("retried", 0)] * 2


async def test_one_task_of_a_batch_handler_is_a_batch_of_one():
    assert (await run_task(batched, 1)).ok
    assert (await run_task(batched, -1)).reason == "rejected"


async def test_a_batch_of_a_handler_that_takes_one_task_is_refused():
    with pytest.raises(ValueError, match="takes one task"):
        await run_batch(kit, [{}])
    with pytest.raises(ValueError, match=r"^tasks.kit: batch and linger are for handlers"):
        await run_task(kit, settings=TaskConfig(batch=3))
