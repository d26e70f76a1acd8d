"""The worker's one HTTP port: /metrics, /livez, /readyz, /status, and the status page if any.

Runs on threads of its own, so that it answers while a handler blocks the event loop. It asks
callables for what it shows, knows nothing of Redis, and cannot be held up by its clients: every
connection carries one request, has a deadline, and makes room when too many are open.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from taskrig.errors import UsageError, describe
from taskrig.runtime import forked
from taskrig.runtime.logs import for_debug
from taskrig.texts import host_and_port

log = logging.getLogger("taskrig.web.server")

_READ_OR_SEND_TIMEOUT_S = 5.0  # a client that is silent for this long is gone
_CONNECTION_MAX_S = 15.0  # longer than any honest scrape; swept when others come
_MAX_CONNECTIONS = 64  # beyond it the oldest is closed: probes and scrapers need a handful
_MAX_THREADS = 2 * _MAX_CONNECTIONS  # beyond it new connections are refused
_STOP_WITHIN_S = 0.1  # how often the accepting thread looks whether it is to end
_MAX_BODY_BYTES = 64 * 1024  # an order of the status page; ids of some hundred dead letters
_GZIP_FROM_BYTES = 1024  # below this a packet is a packet

_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_TEXT = "text/plain; charset=utf-8"
_INDEX = (
    b'<!doctype html><html lang="en"><title>Taskrig worker</title><h1>Taskrig worker</h1><ul>'
    b'<li><a href="/metrics">/metrics</a> for Prometheus'
    b'<li><a href="/livez">/livez</a> whether its loops are alive'
    b'<li><a href="/readyz">/readyz</a> whether it takes tasks'
    b'<li><a href="/status">/status</a> what it does now, as JSON</ul></html>\n'
)

Probe = Callable[[], tuple[bool, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request for the status page; `body` is that of a POST, at most 64 KiB."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. `headers` go before the ones that every answer has."""

    body: bytes
    content_type: str = _TEXT
    code: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


Page = Callable[[Request], Answer | None]  # None: it does not know this path


@dataclass(frozen=True, slots=True)
class _Sources:
    metrics: Callable[[str], tuple[bytes, str]]
    live: Probe
    ready: Probe
    status: Callable[[], dict[str, Any]]
    page: Page | None


class HttpServer:
    """Serves the worker's pages on one address from `start` to `close`.

    Args:
        host: address or name to listen on; IPv6 works.
        port: 0 picks a free one; `port` tells which.
        metrics: takes the request's Accept header; returns the page and its content type.
        live: whether the worker's loops are alive, and a line that says why not.
        ready: whether it takes tasks, and a line that says why not.
        status: what the worker does now; must be quick and serve from memory, as the others.
        page: answers all other paths, GET and POST; may ask Redis.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        metrics: Callable[[str], tuple[bytes, str]],
        live: Probe,
        ready: Probe,
        status: Callable[[], dict[str, Any]],
        page: Page | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._sources = _Sources(metrics, live, ready, status, page)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; before `start`, the one that was asked for."""
        return self._server.server_address[1] if self._server else self._port

    def start(self) -> None:
        """Bind and answer from now on.

        Raises:
            UsageError: the port is taken, privileged or impossible, or the host is unknown.
        """
        try:
            self._server = _Server(self._host, self._port, self._sources)
        except (OSError, OverflowError) as error:
            raise UsageError(_cannot_listen(self._host, self._port, error)) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(_STOP_WITHIN_S,),
            name="taskrig-http",
            daemon=True,
        )
        forked.own(self)
        self._thread.start()

    def descriptors(self) -> Iterator[int]:
        """What is kept from children: else a child that outlives the worker holds the port."""
        if self._server is not None:
            yield self._server.fileno()
            yield from [conn.fileno() for conn in self._server.open]

    def close(self) -> None:
        """Stop listening and drop all connections; may be called again, never hangs."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        server.drop_all()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False  # closing must not wait for clients
    allow_reuse_address = True  # a restart may take its port back at once
    request_queue_size = 128

    def __init__(self, host: str, port: int, sources: _Sources) -> None:
        if not 0 <= port <= 65535:
            raise OverflowError(port)  # getaddrinfo would wrap it round
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        self.address_family, _, _, _, address = found[0]
        self.sources = sources
        self._lock = threading.Lock()
        self.open: dict[socket.socket, float] = {}  # connection -> monotonic time it came
        super().__init__(address, _Handler)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6 and self.server_address[0] == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # IPv4 too
        super().server_bind()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Make room for a new connection: drop the overdue ones, then the oldest."""
        now = time.monotonic()
        with self._lock:
            if len(self.open) >= _MAX_THREADS:
                return False
            waiting = [(at, conn) for conn, at in self.open.items() if at > 0]
            overdue = [conn for at, conn in waiting if now - at > _CONNECTION_MAX_S]
            if len(waiting) - len(overdue) >= _MAX_CONNECTIONS:
                overdue.append(min(waiting, key=lambda one: one[0])[1])
            for conn in overdue:
                self.open[conn] = 0  # dropped; its thread ends and takes it out
                _drop(conn)
            self.open[request] = now
        return True

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self.open.pop(request, None)
        super().shutdown_request(request)

    def drop_all(self) -> None:
        with self._lock:
            for conn in self.open:
                _drop(conn)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a connection ended early")  # clients come and go


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _READ_OR_SEND_TIMEOUT_S
    server_version = "taskrig"
    sys_version = ""
    _secured = False

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self._send(self._asked(self._answer, path, query), may_gzip=path == "/metrics")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        if self.server.sources.page is None:
            self._refuse()
        else:
            path, _, query = self.path.partition("?")
            self._send(self._asked(self._order, path, query))

    def _refuse(self) -> None:
        self._send(_only("GET, HEAD"))

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _asked(self, source: Callable[[str, str], Answer], path: str, query: str) -> Answer:
        try:
            return source(path, query)
        except Exception as fault:  # one broken source must not take the other pages down
            log.warning(
                "%s %r failed: %s",
                self.command,
                path[:100],
                describe(fault),
                exc_info=for_debug(fault),
            )
            return Answer(b"internal error; see the worker's log\n", code=_BROKEN)

    def _order(self, path: str, query: str) -> Answer:
        """A POST: read its body, bounded, and hand it to the page."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10):
            return Answer(b"a Content-Length is needed\n", code=HTTPStatus.LENGTH_REQUIRED)
        if int(length) > _MAX_BODY_BYTES:
            return Answer(b"too large\n", code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = self.rfile.read(int(length))
        answer = self._page("POST", path, query, body)
        return answer or _only("GET, HEAD")

    def _page(self, method: str, path: str, query: str, body: bytes = b"") -> Answer | None:
        page = self.server.sources.page
        if page is None:
            return None
        headers = {name.lower(): value for name, value in self.headers.items()}
        return page(Request(method, path, query, headers, body))

    def _answer(self, path: str, query: str) -> Answer:
        sources = self.server.sources
        if path == "/metrics":
            return Answer(*sources.metrics(self.headers.get("Accept", "")))
        if path == "/livez":
            return _probe(sources.live)
        if path == "/readyz":
            return _probe(sources.ready)
        if path == "/status":
            body = json.dumps(sources.status(), default=str).encode() + b"\n"
            return Answer(body, "application/json")
        answer = self._page("GET", path, query)
        if answer is not None:
            return answer
        if path == "/":
            return Answer(_INDEX, "text/html; charset=utf-8")
        known = b"no such page; try /metrics /livez /readyz /status\n"
        return Answer(known, code=HTTPStatus.NOT_FOUND)

    def _send(self, answer: Answer, *, may_gzip: bool = False) -> None:
        body = answer.body
        self.send_response(answer.code)
        self.send_header("Content-Type", answer.content_type)
        if may_gzip:
            self.send_header("Vary", "Accept-Encoding")
            if len(body) >= _GZIP_FROM_BYTES and _accepts_gzip(self.headers):
                body = gzip.compress(body, compresslevel=1)
                self.send_header("Content-Encoding", "gzip")
        for name, value in {**_SECURITY_HEADERS, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self._secured = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def end_headers(self) -> None:
        if not self._secured:  # an error page of the base class
            for name, value in _SECURITY_HEADERS.items():
                self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base
        log.debug("%s %r", self.address_string(), format % args)


_BROKEN = HTTPStatus.INTERNAL_SERVER_ERROR


def _only(methods: str) -> Answer:
    return Answer(
        f"only {methods.replace(', ', ' and ')}\n".encode(),
        code=HTTPStatus.METHOD_NOT_ALLOWED,
        headers={"Allow": methods},
    )


def _probe(probe: Probe) -> Answer:
    good, line = probe()
    code = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(line.encode() + b"\n", code=code)


def _accepts_gzip(headers: Any) -> bool:
    for part in headers.get("Accept-Encoding", "").split(","):
        name, _, quality = part.replace(" ", "").lower().partition(";")
        if name == "gzip":
            return quality not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _drop(conn: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the client was faster
        conn.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads or sends


def _cannot_listen(host: str, port: int, error: Exception) -> str:
    mend = "choose another with http.port in the config, or --set http.port=0 for any free one"
    if isinstance(error, socket.gaierror | UnicodeError):
        why, mend = f"cannot resolve {host!r}", "give http.host an address of this machine"
    elif isinstance(error, OverflowError):
        why = "a port is a number from 0 to 65535"
    elif isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        why = "the port is taken"
    elif isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
        why = "no permission (ports below 1024 are privileged)"
    elif isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        why, mend = "not an address of this machine", "set http.host, for example 127.0.0.1"
    else:
        why = str(error)
    return f"http: cannot listen on {host_and_port(host, port)}: {why}; {mend}"
