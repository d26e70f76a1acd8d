"""Coverage-guided fuzzing of decode: `make fuzz` (SECONDS=600).

Any bytes are a task or invalid with a known reason; nothing else leaves decode, and the codec in
use comes to the same answer as the standard library's parser under our rules.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-not-found,unused-ignore]

with atheris.instrument_imports(include=["taskrig.task", "json"]):
    from taskrig.task import REASONS, Invalid, decode, make_decoder, parse_strictly

from tests.support.bad_items import BAD, GOOD

strict = make_decoder(parse_strictly)


def verdict(decoder: Any, raw: bytes) -> tuple[str, str]:
    """(reason, "") of an invalid item, else the task's type and data, comparable by text."""
    try:
        task = decoder(raw)
    except Invalid as fault:
        reason = fault.reason
    else:
        return task.type, repr(task.data)
    assert reason in REASONS, reason
    return reason, ""


def one_input(raw: bytes) -> None:
    """What the fuzzer calls."""
    assert verdict(decode, raw) == verdict(strict, raw), raw


def main() -> None:
    """Fuzz until told to stop; an input that fails is written to a file and named."""
    folder = Path(sys.argv[1])  # the corpus: what we know of is where it starts
    for number, raw in enumerate([*(raw for raw, _ in BAD.values()), *GOOD.values()]):
        one_input(raw)
        if len(raw) <= 2000:
            (folder / f"known-{number}").write_bytes(raw)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
