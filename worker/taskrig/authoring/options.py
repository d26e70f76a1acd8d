"""How tasks of one type are to be run, as a decorator or config.yaml says it."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

from taskrig import units

BACKOFF_S = 1.0  # upper bound of the first wait before a task is tried again
BACKOFF_MAX_S = 300.0  # upper bound of any such wait
LINGER_S = 0.05  # how long the oldest task of a batch waits for more
MAX_BATCH = 10_000
MAX_PERIOD_S = 1e6 * 86400  # of a rate
LOOP, THREAD, PROCESS = "loop", "thread", "process"  # where a handler runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of one task type; None: not said here. Durations are seconds."""

    timeout_s: float | None = None
    retries: int | None = None
    backoff_s: float | None = None
    backoff_max_s: float | None = None
    expires_s: float | None = None
    concurrency: int | None = None
    max_concurrent_total: int | None = None
    rate_limit: str | None = None
    unique: bool | None = None
    run_in: str | None = None  # THREAD or PROCESS
    memory: int | None = None  # bytes
    max_tasks_per_process: int | None = None
    batch: int | None = None  # tasks a call
    linger_s: float | None = None
    result_ttl_s: float | None = None
    track: bool | None = None

    def __post_init__(self) -> None:
        if self.run_in not in (None, THREAD, PROCESS):
            raise ValueError(f'run_in must be "thread" or "process", got {self.run_in!r}')
        for name in ("timeout_s", "expires_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be more than 0, got {value!r}")
        for name in ("retries", "backoff_s", "backoff_max_s", "linger_s", "result_ttl_s"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value!r}")
        for name in ("concurrency", "max_concurrent_total", "memory", "max_tasks_per_process"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise ValueError(f"{name} must be at least 1, got {value!r}")
        if self.batch is not None and not (
            type(self.batch) is int and 1 <= self.batch <= MAX_BATCH
        ):
            raise ValueError(
                f"batch must be a number of tasks from 1 to {MAX_BATCH}, got {self.batch!r}"
            )
        if self.rate_limit is not None:
            rate(self.rate_limit)

    def over(self, other: Options) -> Options:
        """These settings, and those of `other` where nothing is said here."""
        both = {}
        for field in fields(self):
            mine = getattr(self, field.name)
            both[field.name] = getattr(other, field.name) if mine is None else mine
        return Options(**both)


def memory_bytes(given: int | str | None) -> int | None:
    """A number of bytes from itself, or from text such as "512MiB".

    Raises:
        ValueError: it says something else.
    """
    try:
        return units.size_bytes(given) if isinstance(given, str) else given
    except ValueError:
        raise ValueError(f'memory must be a size such as "512MiB", got {given!r}') from None


def rate(text: str) -> tuple[int, float]:
    """How many starts in how many seconds: "100/s", "5/10s", "600/m", "1000/h", "1/d".

    Raises:
        ValueError: it says something else.
    """
    try:
        count, period_s = units.rate(text) if "/" in text else (0.0, 1.0)
    except ValueError:
        count, period_s = 0.0, 1.0
    if not (count.is_integer() and 1 <= count <= 1_000_000 and 1 <= period_s <= MAX_PERIOD_S):
        raise ValueError('must be a rate such as "100/s", "5/10s" or "600/m"')
    return int(count), period_s


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
