"""taskrig.testing runs a task as the worker would."""

from __future__ import annotations

import asyncio
import time

import pytest

from taskrig import context, handler
from taskrig.config.sections import TaskConfig
from taskrig.testing import in_fake_time, run_task


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
