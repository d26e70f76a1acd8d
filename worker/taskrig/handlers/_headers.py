"""Headers of a mail, made without the mail library.

That library reads encoded words (`=?utf-8?q?=0D=0A?=`) in any text that it makes a header of; old
versions then write their line breaks out, and all of them need minutes for some names. So text is
decoded first, looked at, and written as plain words or as encoded words of our own. Then the
headers are looked at once more as they go over the wire.
"""

from __future__ import annotations

import base64
import email.policy
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import EmailMessage
from typing import Any

from taskrig import Reject

_LANGUAGE = re.compile(r"(=\?[^?*\s]+)\*[^?\s]*\?")  # of an encoded word (RFC 2231)
_SPECIAL = re.compile(r'["\\]')  # between quotes
_PLAIN = re.compile(r"[ -~]*")
_ATOMS = re.compile(r"[\w !#$%&'*+/=?^`{|}~-]*", re.ASCII)

_BREAKS = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: controls, surrogates, separators
_LINE = 76  # characters, where there is a space to fold at
_WORD_BYTES = 45  # of text in one encoded word, which may have 75 characters
_LONGEST_WORD = 900  # a line must not have more than 998 bytes

# Every server takes 7bit; our headers are folded already.
POLICY = email.policy.SMTP.clone(cte_type="7bit", refold_source="none")


@dataclass(frozen=True, slots=True)
class Address:
    """A mail address, and the name shown for it."""

    spec: str
    name: str = ""

    def words(self) -> list[str]:
        """It as a header has it, in parts that may stand on lines of their own."""
        if not self.name:
            return [self.spec]
        if not _PLAIN.fullmatch(self.name) or "=?" in self.name:
            shown = _encoded(self.name)
        elif _ATOMS.fullmatch(self.name):
            shown = self.name.split()
        else:
            shown = ['"' + _SPECIAL.sub(r"\\\g<0>", self.name) + '"']
        return [*shown, f"<{self.spec}>"]


def header_text(value: Any, name: str, most: int) -> str:
    """The text as readers will see it."""
    if not isinstance(value, str):
        raise Reject(f"email: {name} must be text")
    if len(value) > most:
        raise Reject(f"email: {name} is longer than {most} characters")
    text = decoded(value)
    # A line break would begin a header of the task's choice. Spaces that do not break and what
    # joins emoji are text.
    if any(unicodedata.category(char) in _BREAKS for char in value + text):
        where = "" if text == value else ", in an encoded word (=?...?=)"
        raise Reject(f"email: {name} holds a line break or another control character{where}")
    return text


def decoded(text: str) -> str:
    """With the encoded words in it read; those that cannot be read stay text."""
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(_LANGUAGE.sub(r"\1?", text))))
    except Exception:  # an unknown charset, bytes that are none of its text, no base64
        return text


def list_of(addresses: Iterable[Address]) -> list[str]:
    words: list[str] = []
    for address in addresses:
        if words:
            words[-1] += ","
        words += address.words()
    return words


def words_of(text: str) -> list[str]:
    words = text.split(" ")
    if not _PLAIN.fullmatch(text) or "=?" in text or max(map(len, words)) > _LONGEST_WORD:
        return _encoded(text)
    return words


def _encoded(text: str) -> list[str]:
    """Encoded words (RFC 2047); a reader drops the spaces between them."""
    return [f"=?utf-8?b?{base64.b64encode(part).decode()}?=" for part in _parts(text)]


def _parts(text: str) -> Iterator[bytes]:
    part = b""
    for char in text:
        raw = char.encode()
        if len(part) + len(raw) > _WORD_BYTES:
            yield part
            part = b""
        part += raw
    yield part


def set_header(message: EmailMessage, header: str, words: list[str]) -> None:
    """Set a header as it is, folded at spaces; the library does not read it."""
    lines = [f"{header}: {words[0]}"]
    for word in words[1:]:
        if word and len(lines[-1]) + len(word) >= _LINE:
            lines.append("")
        lines[-1] += f" {word}"
    message.set_raw(header, "\r\n".join(lines).removeprefix(f"{header}: "))


def check_headers(message: EmailMessage) -> None:
    """Raises Reject unless each line that is sent begins a header of ours, or goes on with one."""
    wire = message.as_bytes()
    lines = wire.removesuffix(b"\r\n\r\n").split(b"\r\n")
    begun = [line.partition(b":")[0].decode() for line in lines if not line.startswith(b" ")]
    good = all(line.strip() and len(line) < 998 and line.isascii() for line in lines)
    if begun != message.keys() or not good or any(one in b"\r\n\0" for one in b"".join(lines)):
        raise Reject("email: a header would not be sent as it was given")
