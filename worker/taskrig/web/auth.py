"""Who may see the page and who may act on it.

Acting needs the token in an Authorization header: a form or a link of another site cannot send
one, and a script of another site may not (it would have to ask first, and is not answered).
Reading needs a host name that is ours: a site that lets its own name point here is refused.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from taskrig.web.server import Request


class Refused(Exception):
    """The answer is no; `code` and the message say why."""

    def __init__(self, code: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.code = code


class Guard:
    """Knows the token and the names."""

    def __init__(self, token: str | None, names: Iterable[str]) -> None:
        self._token = token.encode() if token else None
        self._names = {name.lower() for name in (*names, "localhost", socket.gethostname())}

    @property
    def actions(self) -> bool:
        """Whether there is a token, so that somebody may act."""
        return self._token is not None

    def check_host(self, request: Request) -> None:
        """Raises Refused when the page is asked for under a name that is not ours."""
        name = _name(request.headers.get("host", ""))
        if not (_is_address(name) or name in self._names or name.endswith(".localhost")):
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this host name is not known here; add it to http.names in the config",
            )

    def check_token(self, request: Request) -> None:
        """Raises Refused when the request does not bear the token; compares in constant time."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = self._token is not None and hmac.compare_digest(given.strip().encode(), self._token)
        if scheme.lower() != "bearer" or not right:
            raise Refused(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")

    def check_reader(self, request: Request) -> None:
        """Raises Refused where a token is configured and the request does not bear it: payloads
        are not the business of anybody else."""
        if self.actions:
            self.check_token(request)

    def check_order(self, request: Request) -> None:
        """Raises Refused unless the request may change something."""
        if not self.actions:
            raise Refused(HTTPStatus.FORBIDDEN, "read-only: http.token is not set in the config")
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refused(HTTPStatus.FORBIDDEN, "orders from another site are refused")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise Refused(HTTPStatus.FORBIDDEN, "orders from another site are refused")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "an order is application/json")
        self.check_token(request)


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
