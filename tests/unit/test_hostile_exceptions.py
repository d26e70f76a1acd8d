"""Whatever an exception or a result of a handler does, its task fails, in one short line."""

from __future__ import annotations

import asyncio
import concurrent.futures

import pytest

from worker import Reject, Retry, handler
from worker.errors import MAX_ERROR_CHARS, describe
from worker.testing import run_task


class Text(str):
    """A str that does as it likes."""

    def __getitem__(self, key):
        raise SystemExit(4)

    encode = split = __len__ = __iter__ = __format__ = __getitem__


def raising(fault):
    def method(self, *arguments):
        raise fault

    return method


class Meta(type):
    """The class of a class whose name cannot be had."""

    @property
    def __name__(cls):
        raise SystemExit(5)


def made(name, **methods):
    """An exception of a class of that name."""
    return type(name, (Exception,), methods)("of itself")


class ForgotInit(Retry):
    """As people write it: without super().__init__()."""

    def __init__(self, seconds=None):
        self.seconds = seconds


class AsksForNonsense(Retry):
    """Asks for a wait that cannot be."""

    def __init__(self, after):
        super().__init__("nonsense")
        self.after_s = after


class HidesWait(ForgotInit):
    """Fails when it is asked."""

    after_s = property(raising(SystemExit(6)))


class NoClass(Exception):
    """Whoever asks it for its class has trouble."""

    __class__ = property(raising(SystemExit(6)))


class Falsy(Exception):
    """Not even true or false."""

    __bool__ = __eq__ = __hash__ = __len__ = __repr__ = raising(KeyboardInterrupt())


FAULTS = {
    "str raises": made("Bad", __str__=raising(ValueError("no text"))),
    "str exits": made("Bad", __str__=raising(SystemExit(7))),
    "str interrupts": made("Bad", __str__=raising(KeyboardInterrupt())),
    "str cancels": made("Bad", __str__=raising(asyncio.CancelledError())),
    "str ends a generator": made("Bad", __str__=raising(GeneratorExit())),
    "str recurses": made("Bad", __str__=lambda self: str(self)),
    "str is a number": made("Bad", __str__=lambda self: 7),
    "str is nothing": made("Bad", __str__=lambda self: None),
    "str is of its own kind": made("Bad", __str__=lambda self: Text("x" * 5000)),
    "str is huge": made("Bad", __str__=lambda self: "x" * 10_000_000),
    "str has controls": made("Bad", __str__=lambda self: "a\x1b[31m\r\n\0\x85\u2028\u202eb\t"),
    "str has surrogates": made("Bad", __str__=lambda self: "\ud800 \udfff"),
    "repr raises": made("Bad", __repr__=raising(SystemExit(8))),
    "no class": NoClass("x"),
    "neither true nor false": Falsy("x"),
    "name cannot be had": Meta("Hidden", (Exception,), {})("x"),
    "name is huge": made("N" * 100_000),
    "name has controls": made("N\x1b[31m\n\u202e"),
    "name is empty": made(""),
    "name is of its own kind": made(Text("Named")),
    "attributes raise": made("Bad", __getattribute__=raising(SystemExit(9))),
    "reject": type("Bad", (Reject,), {"__str__": raising(SystemExit(9))})(),
    "retry": ForgotInit(),
    "retry in words": AsksForNonsense("soon"),
    "retry never": AsksForNonsense(float("nan")),
    "retry too late": AsksForNonsense(1e300),
    "retry of its own kind": HidesWait(),
    "group": BaseExceptionGroup("many", [made("Bad", __str__=raising(SystemExit(7)))]),
}


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
