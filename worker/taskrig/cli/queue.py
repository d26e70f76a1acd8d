"""`worker queue peek|count`: what waits, without taking it; beside list, run-now and drop."""

from __future__ import annotations

import argparse
import base64
import itertools
from collections import Counter
from typing import TYPE_CHECKING

from taskrig.cli import queue_tasks
from taskrig.cli.desk import ProgressLine, add_json_flag, operator_of, print_json, shown_bytes
from taskrig.errors import UsageError
from taskrig.frame.parser import Commands, Parser, command
from taskrig.texts import plain

if TYPE_CHECKING:
    from taskrig.admin import Inspector

PEEK_EXAMPLES = """\
examples:
  worker queue peek                       the next ten, in the order they will be taken
  worker queue peek -n 3 --json"""

COUNT_EXAMPLES = """\
examples:
  worker queue count                      how many wait, by type
  worker queue count --json
It reads the whole list in slices while workers go on taking: the figures are about right."""

TYPES_KEPT = 10_000  # a flood of made-up types must not fill this program's memory
OTHER = "(other types)"


def add(commands: Commands) -> None:
    """Add the commands."""
    parser: Parser = commands.add_parser(
        "queue",
        help="look at tasks of the queue, run one now or drop it",
        description="Look at tasks of the queue without taking them, run one now or drop it.",
        epilog="examples:\n  worker queue peek -n 3\n  worker queue count\n"
        "  worker queue list --state delayed",
    )
    names = "peek|count|list|run-now|drop"
    inner = parser.add_subparsers(title="commands", metavar=names, required=True)
    peek = command(
        inner,
        "peek",
        execute_peek,
        about="show the tasks that are taken next",
        examples=PEEK_EXAMPLES,
    )
    peek.add_argument(
        "-n",
        "--number",
        type=int,
        default=10,
        metavar="N",
        help="number of tasks to show (default 10)",
    )
    add_json_flag(peek)
    count = command(
        inner, "count", execute_count, about="count waiting tasks by type", examples=COUNT_EXAMPLES
    )
    add_json_flag(count)
    queue_tasks.add(inner)


def execute_peek(args: argparse.Namespace) -> int:
    """Print the next items; returns 0."""
    if not 1 <= args.number <= 100_000:
        raise UsageError("-n: must be 1 to 100000")
    with operator_of(args) as operator:
        from taskrig.admin import waiting_items

        items = list(itertools.islice(waiting_items(operator), args.number))
        total = _total(operator)
    if args.json:
        rows = [
            {
                "type": item.type(),
                "size": item.size,
                "again": item.again,
                "raw": (item.raw or b"").decode("utf-8", "backslashreplace"),
                "raw_base64": base64.b64encode(item.raw or b"").decode(),
            }
            for item in items
        ]
        print_json({"total": total, "items": rows})
        return 0
    for item in items:
        again = "  again" if item.again else ""
        print(
            f"{plain(item.type(), 40):<20} {item.size:>9,} B{again}  "
            f"{shown_bytes(item.raw or b'', item.size)}"
        )
    print(f"{len(items):,} shown of {total:,} waiting")
    return 0


def execute_count(args: argparse.Namespace) -> int:
    """Print how many wait by type; returns 0."""
    counts: Counter[str] = Counter()
    with operator_of(args) as operator:
        from taskrig.admin import waiting_items

        total = _total(operator)
        line = ProgressLine("counted")
        for at, item in enumerate(waiting_items(operator), 1):
            kind = item.type()
            counts[kind if kind in counts or len(counts) < TYPES_KEPT else OTHER] += 1
            if at % 1000 == 0:
                line.show(at, at, total)
        line.end()
    if args.json:
        print_json({"total": counts.total(), "types": dict(counts.most_common())})
        return 0
    for kind, count in counts.most_common():
        print(f"{count:>12,}  {plain(kind, 80)}")
    print(f"{counts.total():>12,}  waiting")
    return 0


def _total(operator: Inspector) -> int:
    seen = operator.survey()
    return seen.waiting + seen.aside
