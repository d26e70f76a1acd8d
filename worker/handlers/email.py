"""Mail through the SMTP server of the config's `email` section.

Data: `to`, `cc`, `bcc` (an address or a list of them, "Ann <ann@example.com>" or without the
name), `subject`, `body` (text), `html`, `reply_to`, and `id`, which makes the mail's Message-ID.

A worker that dies between the server's yes and the settling sends the mail again: with an `id`
both carry the same Message-ID, by which many receivers drop the second.
"""

from __future__ import annotations

import email.policy
import hashlib
import logging
import re
import ssl
import unicodedata
from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING, Any

from worker import Reject, handler

if TYPE_CHECKING:
    from worker.config import Config, EmailConfig

log = logging.getLogger("worker.handlers")

MOST_RECIPIENTS = 100
MOST_SUBJECT_CHARS = 998
FIELDS = ("to", "cc", "bcc", "subject", "body", "html", "reply_to", "id")

_NAMED = re.compile(r'"?([^<>"@]{0,200}?)"? ?<([^<>]+)>')
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}", re.ASCII)
_DOMAIN = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
    re.ASCII,
)

_BREAKS = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: controls, surrogates, separators

_ASCII_ONLY = email.policy.SMTP.clone(cte_type="7bit")  # every server takes that

_config: EmailConfig | None = None


def configure(config: Config) -> str:
    """Take the settings; returns why nothing is sent with them, "" when it is."""
    global _config
    _config = config.email
    return "" if config.email.host is not None else "email.host is not set"


@handler("email", timeout_s=30)
async def send_email(data: Any) -> None:
    """Send one mail; what can never be sent is rejected."""
    message, recipients = compose(data, _config.sender if _config else None)
    shown = ", ".join(recipients[:3]) + (", ..." if len(recipients) > 3 else "")
    if _config is None or _config.host is None:
        log.info(
            "dry run, email.host is not set: would send to %s, subject %.100r",
            shown, str(message["Subject"]),
        )  # fmt: skip
        return
    refused = await _send(_config, message, recipients)
    for address, reason in refused.items():
        log.warning("mail to %s was refused: %.200r", address, reason)
    log.info("mail sent to %s, subject %.100r", shown, str(message["Subject"]))


async def _send(
    config: EmailConfig, message: EmailMessage, recipients: list[str]
) -> dict[str, str]:
    """Hand the mail over; returns who was refused and why, when others were not."""
    import aiosmtplib

    context = None
    if config.tls != "none":
        context = ssl.create_default_context(cafile=config.tls_ca_file)
    try:
        refused, _ = await aiosmtplib.send(
            message,
            sender=message["From"].addresses[0].addr_spec,
            recipients=recipients,
            hostname=config.host,
            port=config.port,
            username=config.username,
            password=config.password.get_secret_value() if config.password else None,
            use_tls=config.tls == "tls",
            start_tls=config.tls == "starttls",
            tls_context=context,
            timeout=config.timeout_s,
        )
    except aiosmtplib.SMTPRecipientsRefused as fault:
        codes = [one.code for one in fault.recipients]
        if all(code >= 500 for code in codes):
            raise Reject(f"every recipient was refused: {fault.recipients[0].message}") from fault
        raise
    except aiosmtplib.SMTPAuthenticationError:
        raise  # the server's business with us, not with this mail
    except aiosmtplib.SMTPResponseException as fault:
        if fault.code >= 500:
            raise Reject(f"the server refused it: {fault.code} {fault.message}") from fault
        raise
    return {address: f"{reply.code} {reply.message}" for address, reply in refused.items()}


def compose(data: Any, sender: str | None) -> tuple[EmailMessage, list[str]]:
    """The mail and its recipients.

    Raises:
        Reject: a field is missing, unknown or of the wrong kind, an address is none, or text
            for a header holds line breaks or other control characters.
    """
    if not isinstance(data, dict):
        raise Reject('email: data must be an object: {"to": ..., "subject": ..., "body": ...}')
    unknown = [str(key)[:40] for key in data if key not in FIELDS]
    if unknown:
        raise Reject(f"email: unknown field {unknown[0]!r}; known are {', '.join(FIELDS)}")
    people = {name: _addresses(data, name) for name in ("to", "cc", "bcc", "reply_to")}
    recipients = [a.addr_spec for name in ("to", "cc", "bcc") for a in people[name]]
    if not people["to"]:
        raise Reject('email: "to" is missing')
    if len(recipients) > MOST_RECIPIENTS:
        raise Reject(f"email: {len(recipients)} recipients; at most {MOST_RECIPIENTS}")
    message = EmailMessage(policy=_ASCII_ONLY)
    message["From"] = _address(sender or "taskrig@localhost", "the sender")
    message["To"] = people["to"]
    for header, name in (("Cc", "cc"), ("Reply-To", "reply_to")):
        if people[name]:
            message[header] = people[name]
    message["Subject"] = _header_text(data.get("subject", ""), "subject", MOST_SUBJECT_CHARS)
    message["Date"] = formatdate()
    message["Message-ID"] = _message_id(data, message["From"].addresses[0].domain)
    message.set_content(_text(data, "body") or "")
    html = _text(data, "html")
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message, list(dict.fromkeys(recipients))


def _text(data: dict[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise Reject(f"email: {name} must be text")
    return value


def _header_text(value: Any, name: str, most: int) -> str:
    if not isinstance(value, str):
        raise Reject(f"email: {name} must be text")
    # A line break would begin a header of the task's choice. Spaces that do not break and what
    # joins emoji are text.
    if any(unicodedata.category(char) in _BREAKS for char in value):
        raise Reject(f"email: {name} holds a line break or another control character")
    if len(value) > most:
        raise Reject(f"email: {name} is longer than {most} characters")
    return value


def _message_id(data: dict[str, Any], domain: str) -> str:
    given = _text(data, "id")
    if not given:
        return make_msgid(domain=domain)
    return f"<{hashlib.sha256(given.encode()).hexdigest()[:40]}@{domain}>"


def _addresses(data: dict[str, Any], name: str) -> tuple[Address, ...]:
    value = data.get(name)
    if value is None:
        return ()
    listed: Sequence[Any] = value if isinstance(value, list) else [value]
    return tuple(_address(one, name) for one in listed)


def _address(value: Any, name: str) -> Address:
    text = _header_text(value, name, 500).strip()
    named = _NAMED.fullmatch(text)
    shown, spec = (named[1].strip(), named[2]) if named else ("", text)
    local, at, domain = spec.rpartition("@")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            domain = ""
    good = at and _LOCAL.fullmatch(local) and ".." not in local and _DOMAIN.fullmatch(domain)
    if not good or local.startswith(".") or local.endswith("."):
        raise Reject(f"email: {name}: {text[:100]!r} is no mail address")
    return Address(display_name=shown, username=local, domain=domain)
