"""How tasks of one type are to be run, as a decorator or config.yaml says it."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

BACKOFF_S = 1.0  # upper bound of the first wait before a task is tried again
BACKOFF_MAX_S = 300.0  # upper bound of any such wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of one task type; None: not said here. Durations are seconds."""

    timeout_s: float | None = None
    retries: int | None = None
    backoff_s: float | None = None
    backoff_max_s: float | None = None
    expires_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("timeout_s", "expires_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be more than 0, got {value!r}")
        for name in ("retries", "backoff_s", "backoff_max_s"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value!r}")

    def over(self, other: Options) -> Options:
        """These settings, and those of `other` where nothing is said here."""
        both = {}
        for field in fields(self):
            mine = getattr(self, field.name)
            both[field.name] = getattr(other, field.name) if mine is None else mine
        return Options(**both)


def backoff_s(attempt: int, *, base_s: float = BACKOFF_S, cap_s: float = BACKOFF_MAX_S) -> float:
    """Seconds to wait before trying a task again: exponential with full jitter.

    Args:
        attempt: how often it has failed, counted from 1.
        base_s: upper bound of the first wait, in seconds.
        cap_s: upper bound of any wait, in seconds.

    Raises:
        ValueError: `attempt` is less than 1.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    if attempt < 1:
        raise ValueError(f"attempt counts from 1, got {attempt}")
    doublings = min(attempt - 1, 60)  # 2 ** 60 is beyond every cap, and a float holds it
    return random.uniform(0, min(cap_s, base_s * 2**doublings))
