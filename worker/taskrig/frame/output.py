"""Text for people: what a terminal may be shown, errors and remarks on stderr, questions."""

from __future__ import annotations

import sys

from taskrig.config.raw import without_password


def error(program: str, text: str) -> None:
    """Say on stderr what is wrong, a line for each problem, without the password of any URL."""
    for line in without_password(text).splitlines() or ["failed"]:
        remark(f"{program}: {line}")


def remark(text: str) -> None:
    """Say on stderr, in one line, something worth knowing."""
    print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text with nothing in it that steers a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def plain(text: str, most: int = 200) -> str:
    """Text from a task on one line of a terminal: cut, and with nothing that steers it."""
    shown = printable(text[: most + 1])
    return shown if len(text) <= most else shown[:most] + "..."


def ask(question: str) -> bool | None:
    """Whether the person at the terminal says yes; None where there is no terminal.

    Asked on stderr: stdout may be a file.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
