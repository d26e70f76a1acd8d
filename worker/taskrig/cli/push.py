"""`worker push TYPE`: push one real task from the shell."""

from __future__ import annotations

import argparse
import io
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from taskrig.cli.desk import add_json_flag, answer, operator_of
from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig.frame.parser import Commands, command, seconds
from taskrig.texts import did_you_mean, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = """\
examples:
  worker push fast_task                   data is {}; prints the id of the task
  worker push email '{"to": "user@example.com", "subject": "hi", "body": "x"}'
  worker push report - --id report-7 --delay 10m < data.json
  worker push report --run-at 2026-12-24T18:00:00+01:00
The task is checked as a worker would check it. Nothing is sent twice: if the answer of Redis is
lost, the command says that the task may or may not have been pushed.
exit codes: 0 it was pushed, 2 it is not a task, 3 Redis did not confirm the push"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(commands, "push", execute, about="push one task", examples=EXAMPLES)
    parser.add_argument("type", metavar="TYPE", help="type of the task")
    parser.add_argument(
        "data",
        metavar="JSON",
        nargs="?",
        default="{}",
        help="data of the task, any JSON value; - reads standard input (default {})",
    )
    parser.add_argument("--id", metavar="ID", help="id of the task (default: a random one)")
    parser.add_argument(
        "--delay",
        type=seconds(0, 1e9),
        metavar="TIME",
        help="do not run it before this time has passed, such as 90s or 10m",
    )
    parser.add_argument(
        "--run-at",
        type=_moment,
        metavar="WHEN",
        help="do not run it before this moment: Unix seconds, or 2026-12-24T18:00:00+01:00",
    )
    parser.add_argument("--list", metavar="LIST", help="push to this list of queue.lists")
    parser.add_argument(
        "--result-ttl",
        type=seconds(0, 1e9),
        metavar="TIME",
        help="keep the task's result for this time after its end",
    )
    add_json_flag(parser)


def execute(args: argparse.Namespace) -> int:
    """Push it; returns 0."""
    if args.delay is not None and args.run_at is not None:
        raise UsageError("give --delay or --run-at, not both")
    data = _data(args.data)
    with operator_of(args) as operator:
        from taskrig.client import Queue

        with Queue.of(operator.config) as queue:
            try:
                task_id = queue.enqueue(
                    args.type,
                    data,
                    id=args.id,
                    delay=args.delay,
                    run_at=args.run_at,
                    result_ttl=args.result_ttl,
                    list=args.list,
                )
            except ValueError as error:
                raise UsageError(str(error)) from None
        _warn_if_unknown(args.type, operator.survey().types)
        to = args.list or queue.key
    answer(args, task_id, id=task_id, type=args.type, list=to)
    return 0


def _data(text: str) -> Any:
    from taskrig.task import Invalid, parse_strictly

    try:
        if text == "-":
            if isinstance(sys.stdin, io.TextIOWrapper):
                return parse_strictly(sys.stdin.buffer.read())
            text = sys.stdin.read() if sys.stdin is not None else ""
        return parse_strictly(text.encode())
    except Invalid as fault:
        what = "standard input" if text == "-" else "the data"
        raise UsageError(f"{what} must be JSON, such as '{{\"n\": 1}}' ({fault.reason})") from None


def _moment(text: str) -> datetime | float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError(
            "must be Unix seconds, or a date and time with its zone: 2026-12-24T18:00:00+01:00"
        )
    return moment


def _warn_if_unknown(task_type: str, known: Sequence[str] | None) -> None:
    if known is not None and task_type not in known and "*" not in known:
        meant = did_you_mean(task_type, known)
        remark(f"warning: no live worker has a handler for {plain(task_type)}{meant}")
