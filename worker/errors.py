"""Every exception of the worker. Its message says in one line what, where and how to mend it."""

from __future__ import annotations


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


class BrokerRefused(BrokerUnavailable):
    """Redis answers and says no (password, database number, rights): waiting does not mend it."""


class BrokerBroken(BrokerUnavailable):
    """A command failed on a live server (a key of the wrong type, a script error)."""


class Reject(Exception):
    """Raised by a handler: this task can never succeed; keep it as a dead letter."""


class Retry(Exception):
    """Raised by a handler: try this task again later; counts against its type's `retries`."""

    def __init__(self, why: str = "", *, after: float | None = None) -> None:
        """`after`: seconds to wait, from 0; None takes the type's backoff."""
        if after is not None and not 0 <= after < 1e10:
            raise ValueError(f"after must be a number of seconds from 0, got {after!r}")
        super().__init__(why)
        self.after_s = after
