"""Which task is next: types with whole-number weights, smoothly interleaved. Pure.

The order is smooth weighted round robin: every type is spread as evenly over a cycle as its
weight allows, and the same mix always gives the same order. A cycle is the sum of the weights
long and holds each type exactly as often as its weight says.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import gcd

from taskrig.errors import UsageError
from taskrig_loadgen.load import meant

# The short names of the three demo types, and how long one of each takes.
ALIASES = {"fast": "fast_task", "medium": "medium_task", "slow": "slow_task"}
NOMINAL_SERVICE_S = {"fast_task": 0.5, "medium_task": 1.0, "slow_task": 2.0}
ALL = "all"  # in a result: the figures over every type
EXAMPLE = "fast=3,medium=2,slow=2"
MAX_TYPE_BYTES = 256  # what the queue's contract allows for a type
BLOCK = 1000  # tasks that a shuffle mixes
MAX_COUNT = 1_000_000_000
MAX_TYPES = 1000


@dataclass(frozen=True, slots=True)
class Mix:
    """Types and weights, in the order given. `counts` has no zero and at least one entry."""

    counts: tuple[tuple[str, int], ...]

    @property
    def types(self) -> tuple[str, ...]:
        """The types, in the order given."""
        return tuple(name for name, _ in self.counts)

    @property
    def total(self) -> int:
        """Tasks in the mix pushed once."""
        return sum(count for _, count in self.counts)

    @property
    def text(self) -> str:
        """The mix as one would type it, with full type names."""
        return ",".join(f"{name}={count}" for name, count in self.counts)

    def reduced(self) -> Mix:
        """The same proportions in the smallest whole numbers: one cycle of an endless run."""
        divisor = gcd(*(count for _, count in self.counts))
        return Mix(tuple((name, count // divisor) for name, count in self.counts))

    def once(self) -> Iterator[int]:
        """Numbers into `types`: each type as often as its count, smoothly interleaved."""
        return islice(_smooth([count for _, count in self.counts]), self.total)

    def endless(self, *, shuffle_seed: int | None = None) -> Iterator[int]:
        """Numbers into `types` for ever, the ratio exact over whole cycles.

        Args:
            shuffle_seed: shuffle, repeatably, blocks of whole cycles of about a thousand tasks:
                nearly as independent as theory has it (a shuffled cycle of three is not), and
                the ratio is exact over whole blocks. None keeps the smooth order.
        """
        weights = [count for _, count in self.reduced().counts]
        if shuffle_seed is None:
            yield from _smooth(weights)
        rng = random.Random(shuffle_seed)
        block = [number for number, weight in enumerate(weights) for _ in range(weight)]
        block *= max(1, BLOCK // len(block))
        while True:
            rng.shuffle(block)
            yield from block

    def unknown(self, known: Iterable[str]) -> list[str]:
        """The types that are neither demo types nor in `known` (the types the config names)."""
        names = {*NOMINAL_SERVICE_S, *known}
        return [name for name in self.types if name not in names]


def _smooth(weights: list[int]) -> Iterator[int]:
    """Smooth weighted round robin (the method of nginx's upstream balancing), for ever."""
    if len(weights) == 1:
        while True:
            yield 0
    total = sum(weights)
    credit = [0] * len(weights)
    numbers = range(len(weights))
    while True:
        for number in numbers:
            credit[number] += weights[number]
        best = max(numbers, key=credit.__getitem__)
        credit[best] -= total
        yield best


def parse_mix(text: str) -> Mix:
    """Read `fast=3,medium=2,slow=2`; aliases become full type names.

    Raises:
        UsageError: the text is no mix; the message says what, where and how to mend it.
    """
    if not text.strip():
        raise _bad(text, "it is empty")
    counts: dict[str, int] = {}
    for position, part in enumerate(text.split(","), start=1):
        name, count = _entry(text, position, part.strip())
        if name in counts:
            raise _bad(text, _twice(name))
        counts[name] = count
    if len(counts) > MAX_TYPES:
        raise _bad(text[:40] + "...", f"{len(counts)} types; at most {MAX_TYPES}")
    return _made(text, counts)


def mix_of(counts: dict[str, int], where: str) -> Mix:
    """A mix from a mapping (a workload file); `where` names its place in error messages.

    Raises:
        UsageError: an entry is no type or no whole number, one is given twice, or all are 0.
    """
    full: dict[str, int] = {}
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool):
            raise UsageError(f"{where}: {name} must be a whole number, got {count!r}")
        _check(where, name, count)
        kind = ALIASES.get(name, name)
        if kind in full:
            raise UsageError(f"{where}: {_twice(kind)}; add the counts up")
        full[kind] = count
    return _made(where, full)


def _made(text: str, counts: dict[str, int]) -> Mix:
    kept = tuple((name, count) for name, count in counts.items() if count)
    if not kept:
        raise _bad(text, "every count is 0, there is nothing to send")
    return Mix(kept)


def _entry(text: str, position: int, part: str) -> tuple[str, int]:
    if not part:
        raise _bad(text, f"entry {position} is empty")
    name, equals, count = part.rpartition("=")
    if not equals:
        raise _bad(text, f"entry {position}, {_short(part)!r}, has no count")
    if len(meant.pairs(part)) > 1:
        raise _bad(text, f"entry {position} holds several types; separate them with commas")
    name, count = name.strip(), count.strip()
    if name.endswith("="):
        raise _bad(text, f"entry {position} has two equals signs before its count")
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", count):
        raise _bad(text, f"the count of {_short(name)!r} must be a whole number, got {count!r}")
    _check(f"--mix {_short(text)!r}", name, int(count))
    return ALIASES.get(name, name), int(count)


def _check(where: str, name: str, count: int) -> None:
    if not name:
        raise UsageError(f"{where}: a type is missing before '='; write it like {EXAMPLE}")
    check_type(where, name)
    if count < 0:
        raise UsageError(f"{where}: the count of {name!r} must be 0 or more, got {count}")
    if count > MAX_COUNT:
        raise UsageError(f"{where}: the count of {name!r} must be at most {MAX_COUNT}, got {count}")


def check_type(where: str, name: str) -> None:
    """Refuse a name that no task can have as its type, or that means every type in a report.

    Raises:
        UsageError: it is `all`, no text that UTF-8 can hold, or too long.
    """
    if name == ALL:
        raise UsageError(f"{where}: {ALL!r} stands for all types together; use another name")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise UsageError(f"{where}: the type {name!r} is not valid text") from None
    if size > MAX_TYPE_BYTES:
        raise UsageError(f"{where}: the type {_short(name)!r} is {size} bytes, at most 256")


def _twice(name: str) -> str:
    short = next((alias for alias, full in ALIASES.items() if full == name), "")
    return f"{name} is given twice" + (f" ({short} is short for it)" if short else "")


def _bad(text: str, why: str) -> UsageError:
    right = meant.meant_mix(text, ALIASES, MAX_COUNT)
    advice = f"did you mean {right}?" if right else f"write it like {EXAMPLE}"
    return UsageError(f"--mix {_short(text)!r}: {why}; {advice}")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """The known type that `name` was probably meant to be, if any (`fsat` for `fast`)."""
    return meant.near_miss(name, [*known, *NOMINAL_SERVICE_S, *ALIASES])
