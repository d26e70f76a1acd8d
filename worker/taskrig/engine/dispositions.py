"""What became of one delivery, and how Redis is told of it: one type and one encoder each.

A disposition says what settling does with a task. Its class carries what the run loop needs to
know of all of its kind: the outcome under which it is counted, and whether `max_tasks` counts it.
"""

from __future__ import annotations

import math
from typing import ClassVar

import msgspec

from taskrig.task import Outcome


class Disposition(msgspec.Struct, frozen=True):
    """One of the classes below."""

    outcome: ClassVar[Outcome]
    counted: ClassVar[bool] = False  # whether max_tasks counts it
    ran: ClassVar[bool] = True  # whether it gets a completion record

    def fields(self, task_type: str) -> tuple[str, str, str]:
        """The fields type, reason and error of exchange.lua for a task of `type`."""
        return task_type, "", ""


class Succeeded(Disposition, frozen=True):
    """The handler returned."""

    outcome = Outcome.SUCCEEDED
    counted = True

    def fields(self, task_type: str) -> tuple[str, str, str]:
        """Nothing: a success is known by its tag."""
        return "", "", ""


class Returned(Succeeded, frozen=True):
    """The handler returned, and the task leaves something behind; `value`: what it returned, as
    JSON, null where nobody wants it."""

    value: bytes


class Failed(Disposition, frozen=True):
    """The handler raised, or no handler could run it: a dead letter."""

    reason: str
    error: str
    outcome = Outcome.FAILED
    counted = True

    def fields(self, task_type: str) -> tuple[str, str, str]:
        """Reason and error as they stand in the dead letter."""
        return task_type, self.reason, self.error


class Dead(Failed, frozen=True):
    """It will not run: expired, cancelled, a duplicate."""

    outcome = Outcome.DEAD


class Retried(Disposition, frozen=True):
    """It failed and runs again after `after_s` seconds."""

    reason: str
    error: str
    after_s: float
    outcome = Outcome.RETRIED
    counted = True

    def fields(self, task_type: str) -> tuple[str, str, str]:
        """The milliseconds to wait, in the place of the reason."""
        return task_type, str(math.ceil(self.after_s * 1000)), self.error


class Released(Disposition, frozen=True):
    """It was interrupted, or not begun: back to the front of the queue."""

    outcome = Outcome.RELEASED


class Invalid(Disposition, frozen=True):
    """The item is not a task: a dead letter of its own bound."""

    reason: str
    outcome = Outcome.INVALID

    def fields(self, task_type: str) -> tuple[str, str, str]:
        """The reason; an invalid item has no type."""
        return task_type, self.reason, ""


class Delayed(Disposition, frozen=True):
    """Its time, `until_s` in Unix seconds by the server's clock, has not come."""

    until_s: float
    outcome = Outcome.DELAYED
    ran = False

    def fields(self, task_type: str) -> tuple[str, str, str]:
        """The Unix milliseconds to wait for, in the place of the reason."""
        return task_type, str(math.ceil(self.until_s * 1000)), ""


class Held(Disposition, frozen=True):
    """A limit or a pause keeps it back, on the held list `name`, at its end `end`: front, back."""

    name: str
    end: str
    outcome = Outcome.HELD
    ran = False

    def fields(self, task_type: str) -> tuple[str, str, str]:
        """The held list in the place of the type, its end in the place of the reason."""
        return self.name, self.end, ""


SUCCEEDED = Succeeded()
RELEASED = Released()
