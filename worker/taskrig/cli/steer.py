"""`worker drain|cancel|reclaim`: what operators ask of running workers."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from taskrig.cli.desk import add_json_flag, answer, operator_of
from taskrig.errors import TaskrigError, UsageError
from taskrig.frame.parser import Commands, command, seconds
from taskrig.texts import plain

if TYPE_CHECKING:
    from taskrig.admin import Inspector

DRAIN_EXAMPLES = """\
examples:
  worker drain 3f9c                       the worker's id (see worker status), or how it begins
  worker drain 3f9c --wait 60             ... and wait until it has left
The worker ends as on SIGTERM: it takes no more tasks, its running tasks may finish, and it exits 0.
exit codes: 0 it was asked, or has left in the time of --wait; 1 there is no such worker, or it
was still there after --wait; 2 several workers' ids begin like this"""

CANCEL_EXAMPLES = """\
examples:
  worker cancel 3f9c0d1e2a:17             a running task's tag (see worker status)
The handler's coroutine is cancelled, and the task is kept as a dead letter, reason cancelled.
A plain function in a thread cannot be stopped: its task is settled, its slot stays taken until
it returns. A handler that swallows its cancellation, or blocks the event loop, goes on: the
command then says so, and what to do.
exit codes: 0 it has left in flight, 1 there is no such task in flight, or it did not end in time"""

RECLAIM_EXAMPLES = """\
examples:
  worker reclaim                          what silent workers still hold; changes nothing
  worker reclaim --now                    give it back to the queue at once
Live workers do this by themselves, after a lease. A silent worker that is not dead (cut off,
stopped) may still run its tasks: they then run twice."""

_LOOK_EVERY_S = 0.1


def add(commands: Commands) -> None:
    """Add the commands."""
    drain = command(
        commands,
        "drain",
        execute_drain,
        about="ask one worker to finish its tasks and end",
        examples=DRAIN_EXAMPLES,
    )
    drain.add_argument(
        "worker", metavar="WORKER", help="id of the worker, or how it begins (see worker status)"
    )
    cancel = command(
        commands,
        "cancel",
        execute_cancel,
        about="cancel one running task",
        examples=CANCEL_EXAMPLES,
    )
    cancel.add_argument("tag", metavar="TAG", help="tag of the task (see worker status)")
    for parser, default in ((drain, 0.0), (cancel, 10.0)):
        parser.add_argument(
            "--wait",
            type=seconds(0, 86400),
            default=default,
            metavar="TIME",
            help=f"time to wait for the end; 0 does not wait (default {default:g}s)",
        )
    reclaim = command(
        commands,
        "reclaim",
        execute_reclaim,
        about="give back tasks of workers whose leases have expired",
        examples=RECLAIM_EXAMPLES,
    )
    reclaim.add_argument(
        "--now", action="store_true", help="give them back; without this flag they are only counted"
    )
    for parser in (drain, cancel, reclaim):
        add_json_flag(parser)


def execute_drain(args: argparse.Namespace) -> int:
    """Ask a worker to drain; returns 0, or 1 when it is still there after --wait."""
    with operator_of(args) as operator:
        name = _worker_named(operator, args.worker)
        reply = operator.drain(name)
        if reply == "no_worker":
            raise TaskrigError(f"no live worker {name}; `worker status` lists them")
        gone = _within(args.wait, lambda: all(w.id != name for w in operator.survey().workers))
    text = f"{name} has left" if gone else f"{name} was asked to drain"
    answer(args, text, worker=name, asked=True, already=reply == "already", left=gone)
    return 0 if gone or not args.wait else 1


def _worker_named(operator: Inspector, text: str) -> str:
    ids = [worker.id for worker in operator.survey().workers]
    if text in ids:
        return text
    found = [name for name in ids if text and name.startswith(text)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(ids[:10]) or "none"
    if found:
        raise UsageError(f"{text!r} may be {' or '.join(found[:5])}; give more of the id")
    raise TaskrigError(f"no live worker {text!r}; alive are: {known}")


def execute_cancel(args: argparse.Namespace) -> int:
    """Cancel a running task; returns 0 when it has left in flight."""
    with operator_of(args) as operator:
        raw = operator.item(args.tag)
        reply = "not_in_flight" if raw is None else operator.cancel(args.tag)
        _refuse(reply, args.tag)
        gone = _within(args.wait, lambda: not operator.held(args.tag))
        letter = _letter_of(operator, args.tag, raw) if gone else None
        if letter:
            text = f"{args.tag} was cancelled and is dead letter {letter}"
        elif gone:
            text = f"{args.tag} ended by itself before it was cancelled"
        elif args.wait:
            text = _runs_on(operator, args)
        else:
            text = f"{args.tag} was asked to stop"
    already = reply == "already"
    answer(args, text, tag=args.tag, asked=True, already=already, ended=gone, dead_letter=letter)
    return 0 if gone or not args.wait else 1


def _runs_on(operator: Inspector, args: argparse.Namespace) -> str:
    """What to do about a task that was asked to stop and did not."""
    worker = args.tag.rpartition(":")[0]
    where = next(
        (
            f"pid {w.pid} on {plain(w.host, 60)}"
            for w in operator.survey().workers
            if w.id == worker
        ),
        "gone by now",
    )
    return (
        f"{args.tag} was asked to stop and is still in flight after {args.wait:g} s: its handler "
        "swallows the\ncancellation, or blocks the event loop. It runs on, and how it ends by "
        f"itself will count.\nSee where it stands: send SIGUSR1 to its worker ({where}) and read "
        "the log.\nBe rid of it: pause its type (worker pause --type), then stop that worker: "
        "SIGTERM, after\nits drain timeout the task goes back to the queue and is set aside."
    )


def _letter_of(operator: Inspector, tag: str, raw: bytes | None) -> str | None:
    """The dead letter that a cancelled task became: the newest of its worker and its bytes."""
    from taskrig.admin import DeadLetters

    where = {"reason": "cancelled", "worker": tag.rpartition(":")[0]}
    page = DeadLetters(operator).page(where, 50, budget_items=10_000)
    for letter in page.letters:
        if raw is not None and letter.size == len(raw) and raw.startswith(letter.start):
            return letter.id
    return None


def _refuse(reply: str, tag: str) -> None:
    if reply == "not_in_flight":
        raise TaskrigError(f"{tag} is not in flight; `worker status` lists what runs")
    if reply == "no_worker":
        raise TaskrigError(
            f"the worker of {tag} is silent: its tasks will be reclaimed and run "
            "again; `worker reclaim` shows them"
        )
    if reply == "too_many":
        raise TaskrigError("that worker has too many asks waiting; try again when it answers")


def execute_reclaim(args: argparse.Namespace) -> int:
    """Show or give back what silent workers hold; returns 0, or 1 when another scan was busy."""
    with operator_of(args) as operator:
        if not args.now:
            held = operator.orphans()
            text = "\n".join(f"{count:>9,}  held by {name}" for name, count in held.items())
            text = text or "nothing is held by silent workers"
            answer(args, text, held=held, total=sum(held.values()))
            return 0
        done = operator.reclaim(lambda moved: None)
    if done.busy:
        raise TaskrigError("another scan is under way; try again in a few seconds")
    answer(args, f"{done.moved:,} given back to the queue", moved=done.moved)
    return 0


def _within(seconds: float, done: Callable[[], bool]) -> bool:
    """Whether `done()` becomes true within `seconds`; with 0 it is not looked at."""
    deadline = time.monotonic() + seconds
    while seconds:
        if done():
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_EVERY_S)
    return False
