"""What a Redis URL may look like. No message here holds any part of it that may be a secret."""

from __future__ import annotations

import difflib
import re
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

SCHEMES = ("redis", "rediss", "unix")
_OPTIONS = ("db", "username", "password")  # any other would silently win over our own settings
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,19}):/")
_MASK = "***"


def checked(url: str) -> str:
    """`url` itself when it can work.

    Raises:
        ValueError: scheme, host, port, database or an option is wrong.
    """
    if any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError("holds spaces or control characters; percent-encode them")
    scheme = _scheme(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(
            "has no usable host:port (ports are 0 to 65535); if the password holds / ? # or @, "
            "percent-encode it or give it as redis.password"
        ) from None
    if "#" in url:
        raise ValueError("holds a #; percent-encode it (%23), or give redis.password by itself")
    if scheme == "unix":
        if not parts.path.startswith("/") or parts.path == "/" or parts.hostname:
            raise ValueError("needs the path of a socket: unix:///run/redis/redis.sock")
    elif not parts.hostname:
        raise ValueError(f"names no host; expected {scheme}://host:6379/0")
    elif port == 0:
        raise ValueError("has port 0; Redis usually listens on 6379")
    if _MASK in (parts.password, dict(parse_qsl(parts.query)).get("password")):
        raise ValueError("holds the mask of a printed configuration; fill in the password itself")
    _check_options(parts)
    return url


def _scheme(url: str) -> str:
    match = _SCHEME.match(url)
    scheme = match[1] if match else ""
    if scheme not in SCHEMES or not url.startswith(f"{scheme}://"):
        near = difflib.get_close_matches(scheme.lower(), SCHEMES, 1, 0.5)
        near = ["redis"] if scheme == "valkey" else near
        hint = f"; did you mean {near[0]}://?" if near else ""
        raise ValueError(f"must begin with redis://, rediss:// or unix://{hint}")
    return scheme


def _check_options(parts: SplitResult) -> None:
    options = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in options]
    if not set(names) <= set(_OPTIONS):
        known = f"known are {', '.join(_OPTIONS)}"
        raise ValueError(f"has an option that is not allowed here ({known}); TLS is redis.tls_*")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"has the option {name} twice")
    path, db = _numbers(parts)
    if path and db is not None:
        raise ValueError("names the database twice, in the path and as db=; keep one")
    if not re.fullmatch(r"[0-9]{0,6}", path or db or "", re.ASCII):
        raise ValueError("has a database that is not a number; expected /0 or ?db=0 at the end")
    if db == "":
        raise ValueError("has an empty db=; write db=0 or leave it out")


def _numbers(parts: SplitResult) -> tuple[str, str | None]:
    """The number of the database in the path, and as an option."""
    path = parts.path.removeprefix("/") if parts.scheme != "unix" else ""
    return path, dict(parse_qsl(parts.query, keep_blank_values=True)).get("db")


def database(url: str) -> int:
    """The number of the database that a checked URL names, 0 when it names none."""
    path, db = _numbers(urlsplit(url))
    return int(path or db or "0")


def masked(url: str) -> str:
    """A checked URL with its password, wherever it stands, replaced by ***."""
    parts = urlsplit(url)
    userinfo, at, address = parts.netloc.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    options = [
        f"{name}={_MASK if name == 'password' else quote(value)}"
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    query = "?" + "&".join(options) if options else ""
    netloc = f"{user}{colon}{_MASK if colon else ''}{at}{address}"
    return f"{parts.scheme}://{netloc}{parts.path}{query}"
