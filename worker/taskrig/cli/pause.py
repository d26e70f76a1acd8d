"""`worker pause|resume`: let no worker take tasks, or none of one type, and the way back."""

from __future__ import annotations

import argparse
import getpass
import shlex
import socket

from taskrig.cli.desk import ProgressLine, add_json_flag, answer, operator_of
from taskrig.errors import UsageError
from taskrig.frame.output import remark
from taskrig.frame.parser import Commands, command
from taskrig.texts import did_you_mean, plain

EXAMPLES = """\
examples:
  worker pause --why "the database is being moved"
  worker resume
  worker pause --type email --why "the mail server is down"
  worker resume --type email
Without --type nothing is claimed from the queue from then on, by any worker. With it no task of
the type starts: workers set them aside, and resume brings them back in order. What runs goes on."""

_SHOWN = 5


def add(commands: Commands) -> None:
    """Add the commands."""
    pause = command(
        commands,
        "pause",
        execute_pause,
        about="stop all workers from taking tasks, or only tasks of one type",
        examples=EXAMPLES,
    )
    pause.add_argument("--why", default="", metavar="TEXT", help="reason to show in worker status")
    resume = command(
        commands,
        "resume",
        execute_resume,
        about="let workers take tasks again, or only tasks of one type",
        examples=EXAMPLES,
    )
    for parser in (pause, resume):
        parser.add_argument(
            "--type", metavar="TYPE", help="pause or resume only tasks of this type"
        )
        add_json_flag(parser)


def execute_pause(args: argparse.Namespace) -> int:
    """Pause all, or one type; returns 0."""
    why, task_type = args.why or _who(), _type(args)
    if task_type is not None:
        return _pause_type(args, task_type, why)
    with operator_of(args) as operator:
        changed = operator.pause(why)
    answer(args, "paused" if changed else "was paused already", paused=True, changed=changed)
    return 0


def _pause_type(args: argparse.Namespace, task_type: str, why: str) -> int:
    with operator_of(args) as operator:
        changed = operator.pause_type(task_type, why)
        known = operator.survey().types
    handled = None if known is None else task_type in known or "*" in known
    said = "paused" if changed else "was paused already"
    answer(
        args,
        f"{plain(task_type)} {said}",
        paused=True,
        changed=changed,
        type=task_type,
        handled=handled,
    )
    if handled is False:
        meant = did_you_mean(task_type, known or ()) or "."
        remark(
            f"warning: no live worker has a handler for {plain(task_type)}{meant} "
            f"If it was mistyped: {resuming(task_type)}"
        )
    return 0


def execute_resume(args: argparse.Namespace) -> int:
    """Resume all, or one type; returns 0."""
    task_type = _type(args)
    if task_type is not None:
        return _resume_type(args, task_type)
    with operator_of(args) as operator:
        changed = operator.resume()
        types = operator.paused_types()
    text = "resumed" if changed else "was not paused"
    if types:
        text += f"; paused by type still: {_some(types)} ({resuming(types[0])})"
    answer(args, text, paused=False, changed=changed, paused_types=types)
    return 0


def _resume_type(args: argparse.Namespace, task_type: str) -> int:
    progress = ProgressLine("given back")
    with operator_of(args) as operator:
        try:
            changed, moved = operator.resume_type(task_type, lambda n: progress.show(n, n, n))
        finally:
            progress.end()
        others = [] if changed else operator.paused_types()
    text = f"{plain(task_type)} {'resumed' if changed else 'was not paused'}"
    if moved:
        text += f", {moved:,} of its tasks are back in the queue"
    elif others:
        text += f"; paused are: {_some(others)}"
    answer(args, text, paused=False, changed=changed, type=task_type, moved=moved)
    return 0


def resuming(task_type: str) -> str:
    """The command that resumes a type, as one can paste it into a shell."""
    word = (
        shlex.quote(task_type) if task_type.isprintable() else "TYPE"
    )  # nothing that steers a terminal
    return f"worker resume --type{'=' if task_type.startswith('-') else ' '}{word}"


def _type(args: argparse.Namespace) -> str | None:
    """The type that was named; a name that no task can have is a mistake."""
    from taskrig.task import MAX_TYPE_BYTES

    task_type: str | None = args.type
    if task_type is None:
        return None
    if not 0 < len(task_type.encode()) <= MAX_TYPE_BYTES:
        raise UsageError(f"--type: must be 1 to {MAX_TYPE_BYTES} bytes")
    return task_type


def _who() -> str:
    try:
        return f"by {getpass.getuser()} on {socket.gethostname()}"
    except (KeyError, OSError, ImportError):  # a user id without a name
        return f"on {socket.gethostname()}"


def _some(types: list[str]) -> str:
    return ", ".join(plain(one) for one in types[:_SHOWN]) + (", ..." * (len(types) > _SHOWN))
