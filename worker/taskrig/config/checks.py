"""Checks of single texts: each returns the text, or raises with one line on what would be right."""

from __future__ import annotations

import keyword
import re

from taskrig.authoring.options import rate as parsed_rate
from taskrig.authoring.options import weighted
from taskrig.config.readings import wrong
from taskrig.config.redis_url import BadUrl, checked
from taskrig.cron import parse_line

_SENDER = re.compile(r"[^\s<>@]+@[^\s<>@]+|[^<>@]*<[^\s<>@]+@[^\s<>@]+>")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")


def redis_url(text: str) -> str:
    """A Redis URL."""
    try:
        return checked(text)
    except BadUrl as error:
        raise wrong(str(error)) from None


def host(text: str) -> str:
    """A host name or an address to listen on, without port."""
    if any(c.isspace() or not c.isprintable() for c in text) or "/" in text:
        raise wrong("must be a host name or an address, such as 127.0.0.1")
    if text.count(":") == 1 or "]:" in text:
        raise wrong("must be a host without port; the port is http.port")
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def host_port(text: str) -> str:
    """host:port of a Sentinel."""
    name, colon, port = text.rpartition(":")
    good = colon and name and re.fullmatch(r"[0-9]{1,5}", port, re.ASCII)
    if not good or not 1 <= int(port) <= 65535 or "/" in name or "@" in name or " " in name:
        raise wrong("must be host:port, such as sentinel-1:26379")
    return text


def mail_sender(text: str) -> str:
    """An address that mails come from, with or without a name."""
    match = _SENDER.fullmatch(text)
    if not match or not text.isprintable():
        raise wrong("must be an address, such as no-reply@example.com or Shop <shop@example.com>")
    return text


def handler(text: str) -> str:
    """A module or package with handlers, or one function of a module."""
    module, colon, function = text.partition(":")
    names = module.split(".") + ([function] if colon else [])
    if all(name.isidentifier() and not keyword.iskeyword(name) for name in names):
        return text
    if "/" in text or text.endswith(".py"):
        raise wrong("must be a module's name with dots (mypkg.tasks), not the path of a file")
    raise wrong("must be a module (mypkg.tasks) or one function (mypkg.tasks:async_handle)")


def task_type(text: str) -> str:
    """The type of a task: at most 256 bytes."""
    if len(text.encode()) > 256:
        raise wrong("a task type has at most 256 bytes")
    return text


def rate(text: str) -> str:
    """How many starts in a time."""
    try:
        parsed_rate(text)
    except ValueError as error:
        raise wrong(str(error)) from None
    return text


def queue_list(text: str) -> str:
    """A list of the queue, with or without a weight."""
    try:
        weighted(text)
    except ValueError as error:
        raise wrong(str(error)) from None
    return text


def schedule(text: str) -> str:
    """One line of the schedule."""
    try:
        parse_line(text)
    except ValueError as error:
        raise wrong(str(error)) from None
    return text


def schedule_name(text: str) -> str:
    """The name of a line of the schedule."""
    return text.split(maxsplit=1)[0]


def task_lines(text: str) -> str:
    """Which tasks have lines in the log."""
    match = _PERCENT.fullmatch(text)
    if text in ("all", "failures", "none") or (match and float(match[1]) <= 100):
        return text
    raise wrong("must be all, failures, none or a share such as 1%")
