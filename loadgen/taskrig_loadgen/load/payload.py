"""The `data` of tasks: templates with fields, padded to a size, made before the run. Pure.

Fields in template text: `{n}` (number in the pool), `{int:1:100}`, `{choice:a|b|c}`, `{text:20}`
(random letters), `{uuid}`. Text that is nothing but an `{int}` or `{n}` becomes a number. `{{`
is a brace.
"""

from __future__ import annotations

import json
import random
import re
import string
import uuid
from typing import Any

from taskrig.errors import UsageError
from taskrig_loadgen.load.workload import sized_data

POOL = 1000  # different objects of a template with fields
MAX_POOL = 100_000
MAX_POOL_BYTES = 256 * 1024 * 1024
FIELDS = "{n}, {int:A:B}, {choice:a|b}, {text:N} and {uuid}"
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def make_pool(
    template: Any, *, size: int | None, pool: int | None, seed: int, where: str
) -> tuple[bytes, ...]:
    """Ready JSON for the `data` of one type.

    Args:
        template: any JSON value; text in it may hold fields. None with a size: only padding.
        size: pad each to this many bytes with a field `pad` (objects only).
        pool: how many different ones; by default 1,000 where there are fields, else 1.

    Raises:
        UsageError: an unknown field, a size too small, a pool too large.
    """
    if template is None and size is not None:
        return (sized_data(size),)
    count = pool or (POOL if _has_fields(template) else 1)
    if count > MAX_POOL:
        raise UsageError(f"{where}: a pool of {count:,} is too large; at most {MAX_POOL:,}")
    rng = random.Random(seed)
    made: list[bytes] = []
    total = 0
    for number in range(count):
        value = _fill({} if template is None else template, number, rng, where)
        made.append(_padded(value, size, where))
        total += len(made[-1])
        if total > MAX_POOL_BYTES:
            raise UsageError(f"{where}: the pool is larger than 256 MiB; make pool or size smaller")
    return tuple(made)


def _has_fields(value: Any) -> bool:
    if isinstance(value, str):
        return any(match[1] is not None for match in _FIELD.finditer(value))
    if isinstance(value, dict):
        return any(map(_has_fields, value.values()))
    return isinstance(value, list) and any(map(_has_fields, value))


def _fill(value: Any, number: int, rng: random.Random, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _fill(part, number, rng, where) for key, part in value.items()}
    if isinstance(value, list):
        return [_fill(part, number, rng, where) for part in value]
    if not isinstance(value, str):
        return value
    whole = _FIELD.fullmatch(value)
    if whole and whole[1] is not None:
        return _field(whole[1], number, rng, where)

    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        return str(_field(match[1], number, rng, where))

    return _FIELD.sub(put, value)


def _field(text: str, number: int, rng: random.Random, where: str) -> int | str:
    name, _, rest = text.partition(":")
    if text == "n":
        return number
    if text == "uuid":
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))
    if name == "int" and (match := re.fullmatch(r"(-?\d+):(-?\d+)", rest)):
        low, high = int(match[1]), int(match[2])
        if low <= high:
            return rng.randint(low, high)
    if name == "choice" and rest:
        return rng.choice(rest.split("|"))
    if name == "text" and rest.isdigit() and int(rest) <= 1_000_000:
        return "".join(rng.choices(string.ascii_lowercase, k=int(rest)))
    raise UsageError(f"{where}: unknown field {{{text}}}; there are {FIELDS}; a brace is {{{{")


def _padded(value: Any, size: int | None, where: str) -> bytes:
    plain = json.dumps(value, separators=(",", ":")).encode()
    if size is None:
        return plain
    if not isinstance(value, dict):
        raise UsageError(f"{where}: only an object can be padded to a size")
    empty = len(json.dumps({**value, "pad": ""}, separators=(",", ":")))
    if size < empty:
        raise UsageError(f"{where}: size {size} is less than the template needs ({empty} bytes)")
    padded = {**value, "pad": "x" * (size - empty)}
    return json.dumps(padded, separators=(",", ":")).encode()
