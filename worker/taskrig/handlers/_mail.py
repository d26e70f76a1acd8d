"""A mail made of a task's data; what is given is bounded before it is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from taskrig import Reject
from taskrig.handlers._headers import (
    POLICY,
    Address,
    check_headers,
    header_text,
    list_of,
    set_header,
    words_of,
)

MOST_RECIPIENTS = 100  # of to, cc and bcc together; as many in reply_to
MOST_SUBJECT_CHARS = 998
MOST_ADDRESS_CHARS = 500
MOST_LINES = 10_000  # of a body that goes out line by line
FIELDS = ("to", "cc", "bcc", "subject", "body", "html", "reply_to", "id", "only")

_NAMED = re.compile(r'"?([^<>"@]{0,200}?)"? ?<([^<>]+)>')
_LOCAL = re.compile(r"(?!.*=\?)[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}", re.ASCII)
_DOMAIN = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail, and who is to get it."""

    message: EmailMessage
    sender: str
    recipients: list[str]
    subject: str


def compose(data: Any, sender: str | None) -> tuple[EmailMessage, list[str]]:
    """The mail and the addresses that are to get it; see `make_mail`."""
    mail = make_mail(data, sender)
    return mail.message, mail.recipients


def make_mail(data: Any, sender: str | None) -> Mail:
    """The mail of a task's data.

    Raises:
        Reject: a field is missing, unknown or of the wrong kind, an address is none, or text
            for a header holds line breaks or other control characters, encoded ones too.
    """
    people = _people(data)
    recipients = _recipients(data, people)
    origin = _address(sender or "taskrig@localhost", "the sender")
    subject = header_text(data.get("subject", ""), "subject", MOST_SUBJECT_CHARS)
    message = EmailMessage(policy=POLICY)
    set_header(message, "From", list_of([origin]))
    for header, name in (("To", "to"), ("Cc", "cc"), ("Reply-To", "reply_to")):
        if people[name]:
            set_header(message, header, list_of(people[name]))
    set_header(message, "Subject", words_of(subject))
    message["Date"] = formatdate()
    message["Message-ID"] = _message_id(data, origin.spec.rpartition("@")[2])
    check_headers(message)
    body, html = _text(data, "body") or "", _text(data, "html")
    message.set_content(body, cte=_encoding(body))
    if html is not None:
        message.add_alternative(html, subtype="html", cte=_encoding(html))
    return Mail(message, origin.spec, recipients, subject)


def _people(data: Any) -> dict[str, tuple[Address, ...]]:
    """The addresses of each field; raises Reject."""
    if not isinstance(data, dict):
        raise Reject('email: data must be an object: {"to": ..., "subject": ..., "body": ...}')
    unknown = next((str(key)[:40] for key in data if key not in FIELDS), None)
    if unknown is not None:
        raise Reject(f"email: unknown field {unknown!r}; known are {', '.join(FIELDS)}")
    return {name: _addresses(data, name) for name in ("to", "cc", "bcc", "reply_to", "only")}


def _recipients(data: dict[str, Any], people: Mapping[str, tuple[Address, ...]]) -> list[str]:
    """Who gets the mail: to, cc and bcc, each once; of these only those in `only`, if any."""
    if not people["to"]:
        raise Reject('email: "to" is missing')
    named = [one.spec for name in ("to", "cc", "bcc") for one in people[name]]
    if len(named) > MOST_RECIPIENTS:
        raise Reject(f"email: {len(named)} recipients; at most {MOST_RECIPIENTS}")
    if data.get("only") is None:
        return list(dict.fromkeys(named))
    only = {one.spec for one in people["only"]}
    strange = sorted(only.difference(named))
    if strange or not only:
        what = f"{strange[0][:100]!r} is not in to, cc or bcc" if strange else "it is empty"
        raise Reject(f"email: only: {what}")
    return [address for address in dict.fromkeys(named) if address in only]


def _text(data: dict[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise Reject(f"email: {name} must be text")
    return value


def _encoding(text: str) -> str | None:
    """How a body goes over the wire; None: as the mail library sees fit.

    What sends it looks at each of its lines, in the event loop.
    """
    return "base64" if text.count("\n") + text.count("\r") > MOST_LINES else None


def _message_id(data: dict[str, Any], domain: str) -> str:
    given = _text(data, "id")
    if not given:
        return make_msgid(domain=domain)
    return f"<{hashlib.sha256(given.encode()).hexdigest()[:40]}@{domain}>"


# -- addresses -----------------------------------------------------------------------------------


def _addresses(data: dict[str, Any], name: str) -> tuple[Address, ...]:
    value = data.get(name)
    if value is None:
        return ()
    listed: Sequence[Any] = value if isinstance(value, list) else [value]
    if len(listed) > MOST_RECIPIENTS:
        raise Reject(f"email: {len(listed)} addresses in {name}; at most {MOST_RECIPIENTS}")
    return tuple(_address(one, name) for one in listed)


def _address(value: Any, name: str) -> Address:
    header_text(value, name, MOST_ADDRESS_CHARS)
    given = value.strip()
    named = _NAMED.fullmatch(given)
    shown, spec = (header_text(named[1], name, 200), named[2]) if named else ("", given)
    local, at, domain = spec.rpartition("@")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            domain = ""
    good = at and _LOCAL.fullmatch(local) and ".." not in local and _DOMAIN.fullmatch(domain)
    if not good or local.startswith(".") or local.endswith("."):
        raise Reject(f"email: {name}: {given[:100]!r} is not a mail address")
    return Address(f"{local}@{domain}", " ".join(shown.split(" ")).strip())
