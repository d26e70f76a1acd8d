"""Asks before a load meets what is not for tests: real handlers, and tasks of others that wait."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from taskrig.errors import UsageError
from taskrig.texts import printable
from taskrig_loadgen.queueview import QueueView

Asked = Callable[[QueueView], Awaitable[None]]
NAMED = 5  # types in the question
_turn = asyncio.Lock()  # several queues are asked for one after another


def add_yes(parser: argparse.ArgumentParser) -> None:
    """--yes."""
    parser.add_argument(
        "--yes",
        action="store_true",
        help="do not ask before real handlers run, or before tasks of others wait behind this load",
    )


def ask_first(args: argparse.Namespace, types: Sequence[str], queue: str) -> Asked | None:
    """What an experiment calls before its first push; None where the user has said yes already."""
    if args.yes:
        return None

    async def asked(view: QueueView) -> None:
        why = worth_asking(view, types, queue)
        async with _turn:
            if why and not await _agreed(why):
                raise UsageError(f"not confirmed: nothing was sent to {queue!r}")

    return asked


def worth_asking(view: QueueView, types: Sequence[str], queue: str) -> str:
    """What this load would do that a test should not do unasked; empty where it is only a test.

    Only workers that tell their types are known to be used by others.
    """
    tell = [worker for worker in view.workers if worker.tells]
    if not tell:
        return ""
    real = [name for name in types if any(worker.runs_for_real(name) for worker in tell)]
    parts = []
    if real:
        names = ", ".join(map(repr, real[:NAMED])) + (" and others" if len(real) > NAMED else "")
        parts.append(f"{names} run real handlers there, not test handlers")
    if view.waiting:
        parts.append(f"{view.waiting:,} tasks of others wait there")
    live = f"{len(view.workers):,} live worker{'s' * (len(view.workers) != 1)}"
    return f"{queue!r} has {live}: {'; '.join(parts)}" if parts else ""


async def _agreed(why: str) -> bool:
    """Whether the person at the terminal says yes; other callbacks go on meanwhile.

    Raises:
        UsageError: there is no terminal to ask at.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"{why}; add --yes to go on")
    print(f"{printable(why)}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    loop, line = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), line.set)
    try:
        await line.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline().strip().lower() in ("y", "yes")
