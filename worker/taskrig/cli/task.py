"""`worker task ID`: all that is known of one task."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from taskrig.cli.desk import ProgressLine, add_json_flag, age, operator_of, print_json
from taskrig.errors import BrokerUnavailable, TaskrigError
from taskrig.frame.parser import Commands, command, seconds
from taskrig.texts import plain

if TYPE_CHECKING:
    from taskrig.admin import Inspector
    from taskrig.admin.one_task import Known

EXAMPLES = """\
examples:
  worker task order-7                     by the id that its producer gave it
  worker task 3f9c0d1e2a:17               by its tag (see worker status)
  worker task order-7 --wait 60           ... when it has ended, or after a minute
  worker task order-7 --json
It looks through the whole queue and the dead letters, in slices. Of a task that has ended and left
nothing behind (no dead letter, no result) nothing is known.
exit codes: 0 it was found, and with --wait it has ended; 1 it was not; 2 wrong usage"""

ENDED = ("succeeded", "failed", "dead", "invalid")
_LOOK_EVERY_S = 0.5
_HELD_S = 2.0  # at most by the server: less than an answer may take
_PAUSE_S = 0.1
_SHOWN_CHARS = 10_000


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands, "task", execute, about="show all that is known of one task", examples=EXAMPLES
    )
    parser.add_argument("id", metavar="ID", help="id of the task, or its tag")
    parser.add_argument(
        "--wait",
        type=seconds(0, 86400),
        default=0.0,
        metavar="TIME",
        help="time to wait for its end (default 0s)",
    )
    add_json_flag(parser)


def execute(args: argparse.Namespace) -> int:
    """Print it; returns 0, or 1 when it has not ended within --wait."""
    with operator_of(args) as operator:
        task = _known(operator, args.id)
        if args.wait and not (task and task.state in ENDED):
            task = _ended(operator, args.id, task, time.monotonic() + args.wait)
        now_s = operator.look().now_s
    if task is None:
        raise TaskrigError(f"nothing is known of a task {plain(args.id, 60)}")
    if args.json:
        print_json(task.as_dict())
    else:
        _print(task, now_s)
    return 0 if not args.wait or task.state in ENDED else 1


def _ended(operator: Inspector, name: str, task: Known | None, until: float) -> Known | None:
    """The task when it has ended, or as it is when the time is up."""
    every_s = _LOOK_EVERY_S
    while (left_s := until - time.monotonic()) > 0:
        _wait_a_little(operator, name, min(every_s, left_s))
        began = time.monotonic()
        again = _known(operator, name)
        # A look through a huge queue takes long: it is not made all the time.
        every_s = min(max(_LOOK_EVERY_S, time.monotonic() - began), _HELD_S)
        if again is None and task is not None:
            raise TaskrigError(_ended_unseen(name))
        task = again
        if task is not None and task.state in ENDED:
            break
    return task


def _ended_unseen(name: str) -> str:
    return (
        f"{plain(name, 60)} has ended: it left neither a dead letter nor a result, so it has "
        "succeeded, or its dead letter was dropped; with a result_ttl its result is kept"
    )


def _known(operator: Inspector, text: str) -> Known | None:
    from taskrig.admin import one_task, search

    depths, line = operator.look(), ProgressLine("searched")
    of = depths.waiting + depths.in_flight + depths.delayed + depths.aside + depths.dead
    commands = operator.commands
    try:
        searched = operator.take(
            search.find(
                *(commands, operator.config, text),
                progress=lambda looked_at: line.show(looked_at, looked_at, of),
            )
        )
    finally:
        line.end()
    return operator.take(one_task.known(commands, text, searched.found))


def _wait_a_little(operator: Inspector, name: str, for_s: float) -> None:
    """Until its result is there, for this long at most."""
    began = time.monotonic()
    try:
        if operator.run(operator.commands.wait_for_result(name, for_s)) is not None:
            for_s = min(for_s, _PAUSE_S)  # it may be that of an earlier run
    except BrokerUnavailable as error:
        if error.kind not in ("out_of_memory", "permission", "wrong_type"):
            raise
    time.sleep(max(0.0, for_s - (time.monotonic() - began)))


def _print(task: Known, now_s: float) -> None:
    result = task.result or {}
    lines: dict[str, Any] = {
        "id": task.id,
        "type": task.type,
        "state": task.state.replace("_", " "),
        "tag": task.tag,
        "due": None if task.due is None else _when(task.due, now_s),
        "running": task.running_since and age(max(0.0, now_s - task.running_since)),
        "worker": task.worker,
        "attempts": task.attempts,
        "deliveries": task.deliveries,
        "size": task.size and f"{task.size:,} bytes",
        "dead letter": task.dead_letter,
        "reason": task.reason,
        "error": task.error,
        "finished": None if "finished" not in result else _when(result["finished"], now_s),
    }
    for name, value in lines.items():
        if value not in (None, ""):
            print(f"{name:<12}{plain(str(value), 1000)}")
    for line in task.traceback.split("\n") if task.traceback else ():
        print(f"  | {plain(line, 1000)}")
    if task.data is not None:
        print(f"{'data':<12}{_json(task.data)}")
    if result.get("state") == "succeeded":
        print(f"{'result':<12}{_json(result.get('result'))}")


def _json(value: Any) -> str:
    return plain(json.dumps(value, ensure_ascii=False), _SHOWN_CHARS)


def _when(at: Any, now_s: float) -> str:
    if not isinstance(at, int | float):
        return "?"
    shown = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(at))
    return f"{shown} (in {age(at - now_s)})" if at > now_s else f"{shown} ({age(now_s - at)} ago)"
