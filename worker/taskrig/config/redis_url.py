"""What a Redis URL may look like. No message here holds any part of it that may be a secret."""

from __future__ import annotations

import difflib
import re
from urllib.parse import parse_qsl, quote, urlsplit

SCHEMES = ("redis", "rediss", "unix")
_OPTIONS = ("db", "username", "password")  # any other would silently win over our own settings
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,19}):/")
_MASK = "***"


class BadUrl(ValueError):
    """A Redis URL that cannot work; the message says why and shows no secret."""


def checked(url: str) -> str:
    """`url` itself when it can work.

    Raises:
        BadUrl: scheme, host, port, database or an option is wrong.
    """
    if any(c.isspace() or not c.isprintable() for c in url):
        raise BadUrl("holds spaces or control characters; percent-encode them")
    scheme = _scheme(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl(
            "has no usable host:port (ports are 0 to 65535); if the password holds / ? # or @, "
            "percent-encode it or give it as redis.password"
        ) from None
    if parts.fragment or "#" in url:
        raise BadUrl("holds a #; percent-encode it (%23), or give redis.password by itself")
    if scheme == "unix":
        if not parts.path.startswith("/") or parts.path == "/" or parts.hostname:
            raise BadUrl("needs the path of a socket: unix:///run/redis/redis.sock")
    elif not parts.hostname:
        raise BadUrl(f"names no host; expected {scheme}://host:6379/0")
    elif port == 0:
        raise BadUrl("has port 0; Redis usually listens on 6379")
    if _MASK in (parts.password, dict(parse_qsl(parts.query)).get("password")):
        raise BadUrl("holds the mask of a printed configuration; fill in the password itself")
    _check_database(scheme, parts.path, parts.query)
    return url


def _scheme(url: str) -> str:
    match = _SCHEME.match(url)
    scheme = match[1] if match else ""
    if scheme not in SCHEMES or not url.startswith(f"{scheme}://"):
        near = difflib.get_close_matches(scheme.lower(), SCHEMES, 1, 0.5)
        if scheme == "valkey":
            near = ["redis"]
        hint = f"; did you mean {near[0]}://?" if near else ""
        raise BadUrl(f"must begin with redis://, rediss:// or unix://{hint}")
    return scheme


def _check_database(scheme: str, path: str, query: str) -> None:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            known = f"known are {', '.join(_OPTIONS)}"
            raise BadUrl(f"has an option that is not allowed here ({known}); TLS is redis.tls_*")
        if name in options:
            raise BadUrl(f"has the option {name} twice")
        options[name] = value
    database = path.removeprefix("/") if scheme != "unix" else ""
    if database and "db" in options:
        raise BadUrl("names the database twice, in the path and as db=; keep one")
    for number in (database, options.get("db", "0")):
        if number and not re.fullmatch(r"[0-9]{1,6}", number, re.ASCII):
            raise BadUrl("has a database that is not a number; expected /0 or ?db=0 at the end")
    if options.get("db") == "":
        raise BadUrl("has an empty db=; write db=0 or leave it out")


def database(url: str) -> int:
    """The number of the database that a checked URL names, 0 when it names none."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    path = parts.path.removeprefix("/") if parts.scheme != "unix" else ""
    return int(path or query.get("db", "0"))


def masked(url: str) -> str:
    """A checked URL with its password, wherever it stands, replaced by ***."""
    parts = urlsplit(url)
    netloc = parts.netloc
    if "@" in netloc:
        userinfo, _, address = netloc.rpartition("@")
        user, colon, _ = userinfo.partition(":")
        netloc = f"{user}{colon}{_MASK if colon else ''}@{address}"
    options = [
        f"{name}={_MASK if name == 'password' else quote(value)}"
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    query = "?" + "&".join(options) if options else ""
    return f"{parts.scheme}://{netloc}{parts.path}{query}"
