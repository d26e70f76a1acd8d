"""Text for people: what a terminal may be shown, errors and remarks on stderr, questions."""

from __future__ import annotations

import sys
from contextvars import ContextVar

from taskrig.texts import printable, without_password

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def error(program: str, text: str) -> None:
    """Say on stderr what is wrong, a line for each problem, without the password of any URL."""
    for line in without_password(text).splitlines() or ["failed"]:
        _say(f"{program}: {line}")


def remark(text: str) -> None:
    """Say on stderr, in one line, something worth knowing; nothing where quiet was asked for."""
    if not _quiet.get():
        _say(text)


def be_quiet(quiet: bool) -> None:
    """Whether remarks are left out from now on; errors and questions never are."""
    _quiet.set(quiet)


def is_quiet() -> bool:
    """Whether remarks are left out."""
    return _quiet.get()


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def ask(question: str) -> bool | None:
    """Whether the person at the terminal says yes; None where there is no terminal.

    Asked on stderr: stdout may be a file.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
