"""What is asked of Redis in several steps, written once for threads and for event loops.

A generator yields what it wants asked and is sent the answer; whoever has connections drives it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from taskrig.broker.commands import Command
from taskrig.errors import BrokerUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Once:
    """A command that must not be sent into a connection that may be gone: if it was quiet for a
    while, it is tried first."""

    command: Command[Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A command that the server holds for a while: it needs a connection of its own."""

    command: Command[Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is asked for this long."""

    seconds: float


Step = Command[Any] | Once | Held | Pause
Steps = Generator[Step, Any, T]


def drive(steps: Steps[T], ask: Callable[[Step], Any]) -> T:
    """Take the steps with `ask`; a BrokerUnavailable of it is raised where the step was."""
    step = _next(steps, None, None)
    while not isinstance(step, _Ended):
        answer, fault = None, None
        try:
            answer = ask(step)
        except BrokerUnavailable as error:
            fault = error
        step = _next(steps, answer, fault)
    return step.value  # type: ignore[no-any-return]


async def drive_async(steps: Steps[T], ask: Callable[[Step], Any]) -> T:
    """The same, where `ask` is a coroutine function."""
    step = _next(steps, None, None)
    while not isinstance(step, _Ended):
        answer, fault = None, None
        try:
            answer = await ask(step)
        except BrokerUnavailable as error:
            fault = error
        step = _next(steps, answer, fault)
    return step.value  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Ended:
    value: Any


def _next(steps: Steps[Any], answer: Any, fault: BrokerUnavailable | None) -> Step | _Ended:
    try:
        return steps.send(answer) if fault is None else steps.throw(fault)
    except StopIteration as end:
        return _Ended(end.value)
