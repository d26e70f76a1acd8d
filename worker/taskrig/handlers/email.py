"""Mail through the SMTP server of the config's `email` section.

Data: `to`, `cc`, `bcc` (an address or a list of them, "Ann <ann@example.com>" or without the
name), `subject`, `body` (text), `html`, `reply_to`, and `id`, which makes the mail's Message-ID.
With `only`, a list of some of these addresses, nobody else gets it; the headers stay the same.

Where the server accepts some recipients and refuses others, the task in flight is given `only` with
the refused ones, before anything else. So whatever comes then (a retry, a crash, a requeue), nobody
who got the mail gets it again.

A worker that dies between the server's yes and that, or the settling, sends the mail again: with
an `id` both carry the same Message-ID, by which many receivers drop the second.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from taskrig import Context, Reject, context, handler
from taskrig.errors import BrokerUnavailable, UsageError
from taskrig.handlers._mail import Mail, compose, make_mail
from taskrig.handlers._smtp import Refused, send

__all__ = ["compose"]

if TYPE_CHECKING:
    from taskrig.broker import Amender
    from taskrig.config.sections import Config, EmailConfig

log = logging.getLogger("taskrig.handlers")

TYPE_TIMEOUT_S = 30.0
PAUSES_S = (0.5, 1.0, 2.0)  # before those who were refused for now are tried again
STOP_S = 0.8  # how long a stopped run waits until it is written down who is left

_config: EmailConfig | None = None
_amender: Amender | None = None


class NotSent(Exception):
    """Somebody did not get the mail, this time."""


def configure(config: Config) -> str:
    """Take the settings; returns why nothing is sent with them, "" when it is.

    Raises:
        UsageError: no mail can come from the sender.
    """
    global _config, _amender
    _config, _amender = config.email, None
    if config.email.host is None:
        return "email.host is not set"
    try:
        make_mail({"to": "user@example.com"}, config.email.sender)
    except Reject as fault:
        raise UsageError(f"email.sender: {str(fault).removeprefix('email: ')}") from None
    from taskrig.broker import Amender

    _amender = Amender(config)
    settings = config.tasks.get("email")
    limit_s = (settings.timeout_s if settings else None) or TYPE_TIMEOUT_S
    if limit_s <= config.email.timeout_s:
        log.warning(
            "a mail may take %g s (email.timeout), but its task is stopped after %g s "
            "(tasks.email.timeout), maybe after the server took it, and is then a failure; "
            "let tasks.email.timeout be the longer one",
            config.email.timeout_s,
            limit_s,
        )
    return ""


@handler("email", timeout_s=TYPE_TIMEOUT_S)
async def send_email(data: Any) -> None:
    """Send one mail; what can never be sent is rejected."""
    config = _config
    if config is None or config.host is None:
        mail, _ = await asyncio.to_thread(_made, data, None)
        log.info(
            "dry run, email.host is not set: would send to %s, subject %.100r",
            _some(mail.recipients),
            mail.subject,
        )
        return
    refused: Refused = {}
    try:
        async with asyncio.timeout(config.timeout_s) as limit:
            mail, content = await asyncio.to_thread(_made, data, config.sender)
            await _deliver(config, data, mail, content, refused)
    except TimeoutError as fault:
        if not limit.expired():
            raise
        rest = f"; refused: {_listed(refused)}" if refused else ""
        raise NotSent(f"not sent within {config.timeout_s:g} s (email.timeout){rest}") from fault
    accepted = [address for address in mail.recipients if address not in refused]
    if accepted:
        log.info("mail sent to %s, subject %.100r", _some(accepted), mail.subject)
    if refused:
        raise _verdict(refused, len(accepted))


async def _deliver(
    config: EmailConfig, data: Any, mail: Mail, content: bytes, refused: Refused
) -> None:
    """Send it, and keep in `refused` who did not get it.

    Where others got it and the type has no retry left, those who were refused for now are tried
    again, soon: a retry of the whole task would be the other way.
    """
    left, pauses = mail.recipients, list(PAUSES_S)
    while left:
        try:
            now = await send(config, mail.sender, left, content)
        except Exception:
            if not refused:
                raise
            return  # whoever is left stands in `refused`
        for address in left:
            refused.pop(address, None)
        refused.update(now)
        if not refused or len(refused) == len(mail.recipients):
            return
        at = context()
        if len(now) < len(left):
            await _to_the_end(asyncio.to_thread(_write_down, at, data, refused))
        left = [address for address, (code, _) in now.items() if code < 500]
        if at.retries_left or not pauses:
            return
        await asyncio.sleep(pauses.pop(0))


def _verdict(refused: Refused, accepted: int) -> Exception:
    """What the run ends with when somebody was refused."""
    others = f"{accepted} got it, but not" if accepted else "no recipient was accepted:"
    text = f"{others} {_listed(refused)}"
    for_now = any(code < 500 for code, _ in refused.values())
    return NotSent(text) if for_now else Reject(text)


def _made(data: Any, sender: str | None) -> tuple[Mail, bytes]:
    """Compose and flatten; in a thread, since a large mail takes a while."""
    mail = make_mail(data, sender)
    return mail, mail.message.as_bytes()


def _some(addresses: list[str]) -> str:
    return ", ".join(addresses[:3]) + (", ..." if len(addresses) > 3 else "")


def _listed(refused: Refused) -> str:
    shown = [
        f"{address[:80]} ({code} {' '.join(text.split())[:80]})"
        for address, (code, text) in refused.items()
    ]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _write_down(at: Context, data: Any, refused: Refused) -> None:
    """Keep in the task who is left; in a thread.

    Raises:
        Reject: it cannot be kept, so the task must not run again.
    """
    why = "it is another task, no longer this worker's, or too large"
    try:
        if _amender is not None and at.task.data is data:  # else a handler called this one
            task = json.loads(at.raw)
            task["data"]["only"] = list(refused)
            raw = json.dumps(task, ensure_ascii=False, separators=(",", ":")).encode()
            if _amender.amend(at.tag, raw):
                return
    except BrokerUnavailable as fault:
        why = str(fault)
    raise Reject(f"others got it, but not {_listed(refused)}; the task does not say so: {why}")


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await it, for a moment also when this run is stopped meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=STOP_S)
        if task.done():
            task.exception()  # what it raised is of no use any more
        raise
