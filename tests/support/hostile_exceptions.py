"""Exceptions that misbehave in every way that somebody found."""

from __future__ import annotations

import asyncio

from taskrig import Reject, Retry


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
