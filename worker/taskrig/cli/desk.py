"""The operator's desk: what the commands for running queues share."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from taskrig.cli.settings import load_settings
from taskrig.errors import BrokerBroken
from taskrig.frame.parser import Parser
from taskrig.texts import plain, printable

if TYPE_CHECKING:
    from taskrig.admin import Inspector
    from taskrig.broker import Survey

PROGRESS_EVERY_S = 1.0


def add_json_flag(parser: Parser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


@contextlib.contextmanager
def operator_of(args: argparse.Namespace) -> Iterator[Inspector]:
    """An operator at the queue that the configuration names.

    Raises:
        UsageError: the configuration is wrong, or a key of the queue has a wrong type.
        BrokerUnavailable: by whatever it is asked, when Redis is out of reach.
    """
    config = load_settings(args)
    from taskrig.admin import Inspector
    from taskrig.broker import Address

    address = Address(config.redis, config.queue.key, "taskrig-operator")
    with contextlib.closing(Inspector(config, address)) as operator:
        try:
            operator.refuse_other_queue()
            yield operator
        except BrokerBroken as error:
            if error.kind == "wrong_type":
                operator.refuse_wrong_key()
            raise


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=True))


def answer(args: argparse.Namespace, text: str, **fields: Any) -> None:
    """Print the result of an action: a line for people, an object for programs."""
    if args.json:
        print_json(fields)
    else:
        print(printable(text, keep="\n"))


class ProgressLine:
    """Says on standard error, once a second at most, how far a long command has come."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said_at = time.monotonic()
        self._open = False

    def show(self, done: int, looked_at: int, of: int) -> None:
        """Tell that `done` were dealt with among `looked_at` of about `of`."""
        now = time.monotonic()
        if not looked_at or now - self._said_at < PROGRESS_EVERY_S:
            return
        self._said_at = now
        line = f"{self._what} {done:,}, looked at {looked_at:,} of {max(of, looked_at):,}"
        if sys.stderr.isatty():
            self._open = True
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the terminal's line."""
        if self._open:
            print(file=sys.stderr)


def shown_bytes(raw: bytes, size: int, most: int = 100) -> str:
    """The start of an item on one line."""
    text = plain(raw[: most * 2].decode("utf-8", "backslashreplace"), most)
    return text if size <= len(raw) or text.endswith("...") else text + "..."


def dropped_lines(survey: Survey) -> list[str]:
    """What their bounds have dropped of the dead letters; nothing where they dropped none."""
    trimmed = survey.trimmed
    lines = []
    for count, at, what, bound in (
        (trimmed.failed, trimmed.failed_at, "dead letters", "dead_letters.max"),
        (
            trimmed.invalid,
            trimmed.invalid_at,
            "invalid items",
            "dead_letters.invalid_max or invalid_max_bytes",
        ),
    ):
        if count:
            last = f", the last one {age(max(0.0, survey.at - at))} ago" if at is not None else ""
            lines.append(f"{count:,} {what} were dropped{last}: {bound} was reached")
    return lines


def age(seconds: float | None) -> str:
    """A length of time for people: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None:
        return "?"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
