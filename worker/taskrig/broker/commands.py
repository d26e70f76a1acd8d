"""Commands as values: the bytes that Redis reads, and how its answer is read.

A command is made in one place and run by whoever has a connection: `Connection` in the event loop,
`ThreadConnection` in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from taskrig.broker.scripts import Script

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Command(msgspec.Struct, Generic[T_co], frozen=True):
    """`data`: the command as it goes over the wire. `parse` takes the server's answer, which is no
    error, to what the caller wants. `script`: the one that it calls by its hash."""

    data: bytes
    parse: Callable[[Any], T_co]
    script: Script | None = None

    def teaching(self) -> Command[T_co]:
        """The same for a server that does not know the script: with its text."""
        assert self.script is not None
        return Command(self.data.replace(self.script.call, self.script.teach, 1), self.parse)


def untouched(answer: Any) -> Any:
    """The answer as it is."""
    return answer


def command(*arguments: Any, parse: Callable[[Any], T] = untouched) -> Command[T]:
    """A command of bytes, str, int and float arguments; raises TypeError for others."""
    data = b"*%d\r\n%b" % (len(arguments), b"".join(map(encode, arguments)))
    return Command(data, parse)


def run_script(
    script: Script, keys: Sequence[str], *arguments: Any, parse: Callable[[Any], T] = untouched
) -> Command[T]:
    """A call of a script by its hash."""
    rest = (len(keys), *keys, *arguments)
    data = b"*%d\r\n%b%b" % (len(rest) + 2, script.call, b"".join(map(encode, rest)))
    return Command(data, parse, script)


def encode(argument: Any) -> bytes:
    """One argument.

    Raises:
        TypeError: it is of another type than bytes, str, int, float.
    """
    if isinstance(argument, str):
        data = argument.encode()
    elif isinstance(argument, bytes):
        data = argument
    elif isinstance(argument, (int, float)) and not isinstance(argument, bool):
        data = repr(argument).encode()
    else:
        raise TypeError(f"not an argument of a command: {type(argument).__name__}")
    return b"$%d\r\n%b\r\n" % (len(data), data)
