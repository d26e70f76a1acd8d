"""What the status page's paths answer."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, unquote

from taskrig.admin import DeadLetters, Inspector, one_task, search
from taskrig.admin.dead_letters import FIELDS, is_id
from taskrig.broker import Address
from taskrig.config.sections import Config
from taskrig.errors import BrokerUnavailable
from taskrig.web.actions import Orders
from taskrig.web.auth import Guard, Refused
from taskrig.web.history import History, Sample
from taskrig.web.server import Answer, Request

log = logging.getLogger("taskrig")

FRESH_S = 1.0  # every browser that asks within this is told the same
PAGE_ITEMS = 50
LOOKED_AT = 20_000  # dead letters that one request goes through for a rare filter
SHOWN_BYTES = 200
SEARCH_S = 2.0  # one request looks for a task this long
TASKS = "/tasks/"
WHOLE_BYTES = 256 * 1024

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page/dead.js": ("dead.js", "text/javascript; charset=utf-8"),
    "/page/find.js": ("find.js", "text/javascript; charset=utf-8"),
    "/page/pauses.js": ("pauses.js", "text/javascript; charset=utf-8"),
    "/page/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}


class StatusPage:
    """Answers `/`, its files, /tasks/ID and /api/...; made once, called by the port's threads."""

    def __init__(
        self, config: Config, address: Address, sample: Callable[[], Sample | None] | None = None
    ) -> None:
        """`sample` tells the depths where somebody else looks already; else Redis is asked."""
        self._operator = Inspector(config, address)
        self._letters = DeadLetters(self._operator)
        self._orders = Orders(self._operator, self._letters)
        self._guard = Guard(
            config.http.token.get_secret_value() if config.http.token else None,
            (*config.http.names, config.http.host),
        )
        self.history = History(sample or self._look)
        folder = files("taskrig.web").joinpath("static")
        self._files = {
            path: (folder.joinpath(name).read_bytes(), kind)
            for path, (name, kind) in _FILES.items()
        }
        self._turn, self._search = threading.Lock(), threading.Lock()
        self._status: tuple[float, bytes] = (0.0, b"")
        self._before: Any = None

    def start(self) -> None:
        """Begin to remember what the plots show."""
        self.history.start()

    def close(self) -> None:
        """Stop; never raises."""
        self.history.stop()
        self._operator.close()

    def _look(self) -> Sample:
        seen = self._operator.look()
        return Sample(seen.waiting, seen.in_flight, seen.dead, seen.claimed, seen.oldest_s() or 0.0)

    def __call__(self, request: Request) -> Answer | None:
        """The answer, None for a path that is not ours."""
        path = request.path
        if path not in self._files and not path.startswith(("/api/", TASKS)):
            return None
        try:
            self._guard.check_host(request)
            return self._routed(request)
        except Refused as no:
            return _json({"error": str(no)}, no.code)
        except BrokerUnavailable as error:
            return _json({"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)

    def _routed(self, request: Request) -> Answer:
        path = request.path
        if path.startswith(TASKS):
            return self._task(request)
        if request.method == "POST":
            return self._order(request)
        if path in self._files:
            body, kind = self._files[path]
            return Answer(body, kind, headers=_HEADERS)
        if path == "/api/status":
            return Answer(self._status_now(), "application/json", headers=_HEADERS)
        if path.startswith("/api/dead"):
            self._guard.check_reader(request)
            return self._dead(path.removeprefix("/api/dead").removeprefix("/"), request.query)
        raise Refused(HTTPStatus.NOT_FOUND, "no such page")

    def _status_now(self) -> bytes:
        with self._turn:
            made_at, body = self._status
            if time.monotonic() - made_at < FRESH_S:
                return body
            survey = self._operator.survey()
            rates = survey.rates(self._before) if self._before is not None else None
            self._before = survey
            status = {
                **survey.as_dict(rates),
                "redis": self._operator.where,
                "actions": self._guard.actions,
                "history": self.history.as_dict(),
            }
            body = json.dumps(status).encode()
            self._status = (time.monotonic(), body)
            return body

    def _dead(self, letter: str, query: str) -> Answer:
        if letter:
            found = self._orders.letter(letter, WHOLE_BYTES)
            if found is None:
                raise Refused(HTTPStatus.NOT_FOUND, "this dead letter is gone")
            return _json(found.as_dict())
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        where = {name: asked[name] for name in FIELDS if asked.get(name)}
        after = asked.get("after", "")
        if after and not is_id(after.removeprefix("(")):
            raise Refused(HTTPStatus.BAD_REQUEST, "after is not an id")
        page = self._letters.page(
            where, PAGE_ITEMS, after=after, shown=SHOWN_BYTES, budget_items=LOOKED_AT
        )
        return _json({"letters": [one.as_dict() for one in page.letters], "next": page.next})

    def _task(self, request: Request) -> Answer:
        if request.method == "POST":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "a task is read with GET")
        self._guard.check_reader(request)
        try:
            name = unquote(request.path.removeprefix(TASKS), errors="strict")
        except UnicodeDecodeError:
            raise Refused(HTTPStatus.BAD_REQUEST, "the id is not UTF-8") from None
        operator = self._operator
        with self._search:  # a look through a large queue at a time
            find = search.find(operator.commands, operator.config, name, within_s=SEARCH_S)
            searched = operator.take(find)
        known = operator.take(one_task.known(operator.commands, name, searched.found))
        if known is not None:
            return _json(known.as_dict())
        if not searched.complete:
            text = f"not found within {SEARCH_S:g} s; `worker task` looks through all of the queue"
            raise Refused(HTTPStatus.NOT_FOUND, text)
        raise Refused(HTTPStatus.NOT_FOUND, "nothing is known of this task")

    def _order(self, request: Request) -> Answer:
        self._guard.check_order(request)
        result = self._orders.carry_out(request.path.removeprefix("/api/"), request.body)
        with self._turn:
            self._status = (0.0, b"")  # whoever acted wants to see it
        log.info("status page: %s: %s", request.path.removeprefix("/api/"), result)
        return _json(result)


def _json(value: Any, code: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(json.dumps(value).encode(), "application/json", code, _HEADERS)
