"""Commands as the bytes that Redis reads (RESP), made with less work than a general client's.

The exchange sends the same keys and settings every turn and a hundred tags that differ: the first
are encoded once (`Encoded`), the second in one go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class Encoded:
    """Arguments that are encoded already: their bytes and how many they are."""

    __slots__ = ("count", "data")

    def __init__(self, data: bytes, count: int) -> None:
        self.data = data
        self.count = count

    @classmethod
    def of(cls, *arguments: Any) -> Encoded:
        """Any arguments."""
        return cls(b"".join(map(_encoded, arguments)), len(arguments))

    @classmethod
    def of_ascii(cls, texts: Sequence[str]) -> Encoded:
        """Texts of which every character is one byte, such as tags."""
        return cls("".join([f"${len(t)}\r\n{t}\r\n" for t in texts]).encode("ascii"), len(texts))


def encode_command(arguments: Iterable[Any]) -> bytes:
    """One command: bytes, str, int, float and Encoded, in any order.

    Raises:
        TypeError: an argument of another type.
    """
    parts, count = [b""], 0
    for argument in arguments:
        if type(argument) is Encoded:
            parts.append(argument.data)
            count += argument.count
        else:
            parts.append(_encoded(argument))
            count += 1
    parts[0] = b"*%d\r\n" % count
    return b"".join(parts)


def _encoded(argument: Any) -> bytes:
    if isinstance(argument, str):
        data = argument.encode()
    elif isinstance(argument, bytes):
        data = argument
    elif isinstance(argument, (int, float)) and not isinstance(argument, bool):
        data = repr(argument).encode()
    else:
        raise TypeError(f"no argument of a command: {type(argument).__name__}")
    return b"$%d\r\n%b\r\n" % (len(data), data)
