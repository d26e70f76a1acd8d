"""Whatever an exception or a result of a handler does, its task fails, in one short line."""

from __future__ import annotations

import asyncio
import concurrent.futures

import pytest

from taskrig import handler
from taskrig.errors import MAX_ERROR_CHARS, describe
from taskrig.testing import run_task
from tests.support.hostile_exceptions import FAULTS


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_whatever_an_exception_does_its_task_fails_in_one_line(name, kind):
    def fails(data):
        raise FAULTS[name]

    async def fails_too(data):
        raise FAULTS[name]

    ran = await run_task(handler("fails")(fails if kind == "thread" else fails_too))
    assert ran.outcome == "failed"
    assert ran.reason == ("rejected" if name == "reject" else "error")
    assert len(ran.error) <= MAX_ERROR_CHARS
    assert ran.error.isprintable()
    assert type(ran.error) is str


def test_what_can_be_said_of_an_exception_is_said():
    assert describe(ValueError("first\nsecond")) == "ValueError: first second"
    assert describe(KeyError("type")) == "KeyError: 'type'"
    assert describe(FAULTS["name cannot be had"]) == "Hidden: x"
    assert describe(FAULTS["str raises"]) == "Bad (its message cannot be had)"
    assert describe(FAULTS["str has controls"]) == r"Bad: a\x1b[31m \x00 \u202eb"


async def test_a_retry_that_asks_for_nothing_that_can_be_waits_as_its_type_does():
    @handler("busy", retries=1, backoff_s=2)
    async def busy(data):
        raise FAULTS[data]

    for name in (name for name in FAULTS if name.startswith("retry")):
        ran = await run_task(busy, name)
        assert ran.outcome == "retried"
        assert 0 <= ran.retry_after_s <= 2


async def inner(data):
    raise AssertionError("never awaited")


async def yields(data):
    yield data


class Awaitable:
    """Something to be awaited."""

    def __await__(self):
        yield


def _started(data):
    return asyncio.get_running_loop().create_task(asyncio.sleep(60))


RESULTS = {
    "a coroutine": inner,
    "an async generator": yields,
    "a generator": lambda data: (one for one in data),
    "an awaitable": lambda data: Awaitable(),
    "a future": lambda data: concurrent.futures.Future(),
}


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("kind", ["coroutine", "thread", "middleware"])
async def test_a_handler_that_returns_what_has_yet_to_run_has_not_succeeded(name, kind):
    def plain(data):
        return RESULTS[name](data)

    async def returns(data):
        return RESULTS[name](data)

    async def around(at, call):
        await call()

    function = handler("returns")(plain if kind == "thread" else returns)
    ran = await run_task(function, [], middleware=[around] if kind == "middleware" else [])
    assert ran.outcome == "failed"
    assert f"TypeError: the handler returned {name}, which nobody would wait for" in ran.error


async def test_a_task_that_a_handler_starts_and_returns_goes_no_further():
    started = []

    @handler("starts")
    async def starts(data):
        started.append(asyncio.create_task(asyncio.sleep(60)))
        return started[0]

    assert "the handler returned an awaitable" in (await run_task(starts)).error
    await asyncio.wait(started, timeout=5)
    assert started[0].cancelled()


@pytest.mark.parametrize("result", [None, 7, "text", [1], {"a": 1}, object(), range(3), print])
async def test_any_other_result_is_ignored(result):
    async def returns(data):
        return result

    assert (await run_task(handler("returns")(returns))).ok
