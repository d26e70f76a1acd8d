"""Text that people gave us or are shown: what UTF-8 can hold, no passwords, one line."""

from __future__ import annotations

import re
from collections.abc import Iterable

_USERINFO = re.compile(r"(://)[^/\s]*@")
_QUERY_PASSWORD = re.compile(r"(?i)(passw(?:or)?d=)[^&\s]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it. Python keeps stray bytes of arguments, and JSON's halves of
    characters, as lone surrogates."""
    return _SURROGATE.search(text) is None


def without_password(text: str) -> str:
    """`text` with whatever stands where a URL has its user name and password masked."""
    return _QUERY_PASSWORD.sub(r"\1***", _USERINFO.sub(r"\1***@", text))


def printable(text: str, keep: str = "") -> str:
    """The text with nothing in it that steers a terminal, but for the characters to `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def cut(text: str, most: int) -> str:
    """At most this number of its characters, the end marked where there was more."""
    return text if len(text) <= most else text[: most - 3] + "..."


def plain(text: str, most: int = 200) -> str:
    """The text on one line: cut, and with nothing that steers a terminal."""
    return cut(printable(text[: most + 1]), most)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint to the nearest known word, to follow a sentence; "" when none is near."""
    import difflib  # only for a mistake: it takes a while to import

    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {plain(near[0], 60)}?" if near else ""


def host_and_port(host: str, port: int) -> str:
    """Both as they stand in a URL: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
