"""`worker queue list|run-now|drop`: the tasks in one state, and one of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from taskrig.cli.desk import ProgressLine, add_json_flag, age, answer, operator_of, print_json
from taskrig.errors import TaskrigError, UsageError
from taskrig.frame.output import ask
from taskrig.frame.parser import Commands, command
from taskrig.texts import plain

if TYPE_CHECKING:
    from taskrig.admin import Inspector
    from taskrig.admin.search import Found, Row
    from taskrig.broker import Depths

LIST_EXAMPLES = """\
examples:
  worker queue list                       the waiting tasks that are taken next
  worker queue list --state delayed -n 50 --json
  worker queue list --state retrying --after 0:20
States: waiting; held (by a limit of their type, also counted as waiting); paused (set aside, of
paused types); delayed (their run_at has not come); retrying (they failed and run again); in-flight.
Workers take tasks meanwhile: one may be shown twice or be passed over."""

RUN_NOW_EXAMPLES = """\
examples:
  worker queue run-now order-7            a delayed task is due now, a waiting one is the next
A task that a limit or a pause holds back stays held.
exit codes: 0 it is the next one, 1 there is no such task, or it cannot run now"""

DROP_EXAMPLES = """\
examples:
  worker queue drop order-7
  worker queue drop order-7 --yes         without asking
The task does not run. It becomes a dead letter, reason cancelled, which can be requeued, or deleted
by `worker dead drop`. A running task is stopped by `worker cancel`.
exit codes: 0 it was dropped, 1 there is no such task, or it does not wait, 2 wrong usage"""

STATES = ("waiting", "held", "paused", "delayed", "retrying", "in-flight")


def add(inner: Commands) -> None:
    """Add the commands below `worker queue`."""
    listing = command(
        inner, "list", execute_list, about="list the tasks in one state", examples=LIST_EXAMPLES
    )
    listing.add_argument(
        "--state",
        choices=STATES,
        default="waiting",
        metavar="STATE",
        help=f"one of {', '.join(STATES)} (default waiting)",
    )
    listing.add_argument(
        "-n",
        "--number",
        type=int,
        default=20,
        metavar="N",
        help="number of tasks to show (default 20)",
    )
    listing.add_argument(
        "--after", default="", metavar="PLACE", help="go on where an earlier page ended"
    )
    run_now = command(
        inner,
        "run-now",
        execute_run_now,
        about="let one waiting, delayed or retrying task be the next",
        examples=RUN_NOW_EXAMPLES,
    )
    drop = command(
        inner,
        "drop",
        execute_drop,
        about="take one task out of the queue, as a dead letter",
        examples=DROP_EXAMPLES,
    )
    drop.add_argument("--yes", action="store_true", help="act without asking")
    for parser in (run_now, drop):
        parser.add_argument("id", metavar="ID", help="id of the task, or its tag")
    for parser in (listing, run_now, drop):
        add_json_flag(parser)


def execute_list(args: argparse.Namespace) -> int:
    """Print a page of the tasks in one state; returns 0."""
    if not 1 <= args.number <= 10_000:
        raise UsageError("-n: must be 1 to 10000")
    state = args.state.replace("-", "_")
    with operator_of(args) as operator:
        from taskrig.admin import search

        try:
            steps = search.page(operator.commands, operator.config, state, args.number, args.after)
            page = operator.take(steps)
        except ValueError as error:
            raise UsageError(f"--after: {error}") from None
        depths = operator.look()
    total = _total(state, depths)
    if args.json:
        rows = [_as_dict(row) for row in page.rows]
        print_json({"state": state, "total": total, "tasks": rows, "next": page.following})
        return 0
    for row in page.rows:
        print(_line(row, depths.now_s))
    among = " delayed or retrying" if state in ("delayed", "retrying") else f" {args.state}"
    more = f"; more: --after {page.following}" if page.following else ""
    print(f"{len(page.rows):,} shown of {total:,}{among}{more}")
    return 0


def _total(state: str, depths: Depths) -> int:
    """How many there are; delayed and retrying ones are counted together."""
    counts = {
        "waiting": depths.waiting,
        "held": depths.held,
        "paused": depths.aside,
        "in_flight": depths.in_flight,
    }
    return counts.get(state, depths.delayed)


def _as_dict(row: Row) -> dict[str, Any]:
    found = row.found
    if found is None:
        return {"state": row.place.state, "size": row.size, "type": None, "id": None}
    return {
        "state": found.state,
        "size": row.size,
        "type": found.task.type if found.task is not None else None,
        "id": found.task.id if found.task is not None else None,
        "tag": found.entry.tag or None,
        "due": found.due,
        "attempts": found.entry.attempts,
        "deliveries": found.entry.deliveries,
        "list": row.place.key,
    }


def _line(row: Row, now_s: float) -> str:
    found = row.found
    if found is None:
        return f"{'(too large)':<20} {'':<26} {row.size:>9,} B"
    task = found.task
    kind = plain(task.type, 40) if task is not None else "(not a task)"
    name = plain(task.id or "", 60) if task is not None else ""
    notes = [f"{row.size:>9,} B"]
    if found.due is not None:
        left_s = found.due - now_s
        notes.append(f"due in {age(left_s)}" if left_s > 0 else "due")
    elif row.place.state in ("held", "paused"):
        notes.append(row.place.state)
    if found.entry.attempts:
        notes.append(f"failed {found.entry.attempts:,} times")
    if found.entry.tag:
        notes.append(found.entry.tag)
    return f"{kind:<20} {name:<26} {'  '.join(notes)}"


def found_task(operator: Inspector, text: str) -> Found:
    """The task with this id or tag; raises TaskrigError where there is none."""
    from taskrig.admin import search

    total, line = operator.look(), ProgressLine("searched")
    of = total.waiting + total.in_flight + total.delayed + total.aside + total.dead
    try:
        found = operator.take(
            search.find(
                *(operator.commands, operator.config, text),
                progress=lambda looked_at: line.show(looked_at, looked_at, of),
            )
        ).found
    finally:
        line.end()
    if found is None:
        raise TaskrigError(f"there is no task {plain(text, 60)} in this queue")
    return found


def execute_run_now(args: argparse.Namespace) -> int:
    """Let a task be the next one; returns 0."""
    with operator_of(args) as operator:
        from taskrig.admin import one_task

        found = found_task(operator, args.id)
        no = operator.take(one_task.run_now(operator.commands, found))
    name = plain(args.id, 60)
    reasons = {
        "held": "a limit of its type holds it back",
        "paused": "its type is paused; `worker resume --type` lets it run",
        "in_flight": "it is in flight already",
        "dead": "it is a dead letter; `worker dead requeue` lets it run again",
        "gone": "a worker has just taken it",
    }
    if no in reasons:
        raise TaskrigError(f"{name} was not moved: {reasons[no]}")
    text = f"{name} is the next one" if not no else f"{name} is before the queue already"
    answer(args, text, id=args.id, moved=not no)
    return 0


def execute_drop(args: argparse.Namespace) -> int:
    """Make a task a dead letter; returns 0."""
    with operator_of(args) as operator:
        from taskrig.admin import one_task

        found, name = found_task(operator, args.id), plain(args.id, 60)
        kind = plain(found.task.type, 60) if found.task is not None else "?"
        no: str = found.place.state
        if no in ("in_flight", "dead"):
            pass
        elif not args.yes and not ask(f"drop {name}, a task of type {kind}?"):
            raise UsageError("nothing was dropped; --yes drops without asking")
        else:
            no = operator.take(one_task.take_out(operator.commands, operator.config, found))
    reasons = {
        "in_flight": f"it is in flight; `worker cancel {found.entry.tag}` stops it",
        "dead": "it is a dead letter already; `worker dead drop` deletes it",
        "gone": "a worker has just taken it",
        "group": "no worker has seen to its group yet, so its end would not count there",
    }
    if no:
        raise TaskrigError(f"{name} was not dropped: {reasons[no]}")
    answer(args, f"{name} was dropped and is a dead letter", id=args.id, dropped=True)
    return 0
