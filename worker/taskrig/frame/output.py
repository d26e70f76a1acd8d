"""Text for people: what a terminal may be shown, errors and remarks on stderr, questions."""

from __future__ import annotations

import sys

from taskrig.texts import printable, without_password


def error(program: str, text: str) -> None:
    """Say on stderr what is wrong, a line for each problem, without the password of any URL."""
    for line in without_password(text).splitlines() or ["failed"]:
        remark(f"{program}: {line}")


def remark(text: str) -> None:
    """Say on stderr, in one line, something worth knowing."""
    print(printable(text), file=sys.stderr, flush=True)


def ask(question: str) -> bool | None:
    """Whether the person at the terminal says yes; None where there is no terminal.

    Asked on stderr: stdout may be a file.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
