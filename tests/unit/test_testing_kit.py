"""worker.testing runs a task as the worker would."""

from __future__ import annotations

import asyncio
import time

import pytest

from worker import context, handler
from worker.config import TaskConfig
from worker.testing import in_fake_time, run_task


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
    with pytest.raises(ValueError, match="is no handler"):
        await run_task(len)
