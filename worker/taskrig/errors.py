"""Every exception of the worker. Its message says in one line what, where and how to mend it."""

from __future__ import annotations

import operator

from taskrig.texts import cut, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

MAX_ERROR_CHARS = 500  # of an error kept with a dead letter or printed; messages can be huge


class TaskrigError(Exception):
    """An error with one clear line for the person who started the program."""

    exit_code = 1


class UsageError(TaskrigError):
    """Flags, configuration, handlers, ports or keys that cannot work as given."""

    exit_code = 2


class BrokerUnavailable(TaskrigError):
    """Redis is out of reach, still loading, or refuses us; the message says which."""

    exit_code = 3
    kind = "other"  # bounded, for the metric redis_errors_total
    may_have_run = False  # the command was sent, and its answer was lost


class BrokerRefused(BrokerUnavailable):
    """Redis answers and says no (password, database number, rights): waiting does not mend it."""


class BrokerBroken(BrokerUnavailable):
    """A command failed on a live server (a key of the wrong type, a script error)."""


class PushFailed(BrokerUnavailable):
    """Redis did not confirm a push. By id: `pushed` tasks are in the queue, `unsure` ones may or
    may not be, because the answer was lost; the others are not. Nothing is sent again."""

    def __init__(self, text: str, pushed: Sequence[str] = (), unsure: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.pushed = tuple(pushed)
        self.unsure = tuple(unsure)
        self.may_have_run = bool(unsure)


class Interfered(TaskrigError):
    """The code of a handler took from the worker what it needs to run."""


class Reject(Exception):
    """Raised by a handler: this task can never succeed; keep it as a dead letter."""


class Retry(Exception):
    """Raised by a handler: try this task again later; counts against its type's `retries`."""

    after_s: float | None = None  # also of a subclass that does not call __init__

    def __init__(self, why: str = "", *, after: float | None = None) -> None:
        """`after`: seconds to wait, from 0; None takes the type's backoff."""
        if after is not None and not 0 <= after < 1e10:
            raise ValueError(f"after must be a number of seconds from 0, got {after!r}")
        super().__init__(why)
        self.after_s = after


class BatchFailed(Exception):
    """Raised by a handler with `batch`: these of its tasks failed, the others succeeded."""

    errors: dict[int, BaseException]

    def __init__(self, errors: Mapping[int, BaseException]) -> None:
        """`errors`: by the task's index in the list; each is judged as if raised for its task."""
        self.errors = {}
        for index, error in errors.items():
            if not isinstance(error, BaseException):
                raise TypeError(f"BatchFailed takes an exception a task, got {error!r:.200}")
            self.errors[operator.index(index)] = error
        first = next((f"; task {i}: {describe(e)}" for i, e in self.errors.items()), "")
        super().__init__(f"{len(self.errors)} of the batch's tasks failed{first}")


def faults_of(fault: BaseException | None, count: int) -> list[BaseException | None]:
    """What each of a batch's `count` tasks failed with, None where it succeeded."""
    if fault is None or not issubclass(type(fault), BatchFailed):
        return [fault] * count
    wrong: BaseException
    try:
        errors = dict(fault.errors)  # type: ignore[attr-defined]
        outside = [index for index in errors if not 0 <= index < count]
        if not outside and all(isinstance(one, BaseException) for one in errors.values()):
            return [errors.get(index) for index in range(count)]
        wrong = IndexError(f"BatchFailed names task {outside[0]} of {count}, counted from 0")
    except BaseException:  # whatever a class of the handler's own does here
        wrong = fault
    return [wrong.with_traceback(fault.__traceback__)] * count


def ended_with(part: asyncio.Task[None]) -> BaseException | None:
    """Why a part of the worker has ended before its time; None when it has ended as it should."""
    if part.cancelled():  # never by the worker itself
        name = getattr(part.get_coro(), "__qualname__", "?")
        return Interfered(
            f"a handler's code cancelled {name}, a part of the worker; asyncio.all_tasks() "
            "holds those too, so cancel only what you started"
        )
    return part.exception()


def wait_of(fault: BaseException) -> float | None:
    """The seconds that a Retry asks for; None where it asks for none, or for none that can be."""
    try:
        after_s = float(fault.after_s)  # type: ignore[attr-defined]
    except BaseException:  # whatever a class of the handler's own does here
        return None
    return after_s if 0 <= after_s < 1e10 else None


def describe(fault: BaseException) -> str:
    """The exception in one short printable line, whatever its class and its `__str__` do."""
    name = _printable(type.__dict__["__name__"].__get__(type(fault)), 100)
    try:
        text = _printable(str(fault), 2 * MAX_ERROR_CHARS)
    except BaseException:
        return f"{name} (its message cannot be had)"
    line = f"{name}: {text}" if text else name
    return cut(line, MAX_ERROR_CHARS)


def _printable(text: str, most: int) -> str:
    """The first `most` characters on one line; a subclass of str is not asked for them."""
    return printable(" ".join(str.__getitem__(text, slice(most)).split()))
