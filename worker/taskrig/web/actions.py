"""The orders that the page may give: each a POST with a JSON object."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from typing import Any

from taskrig.admin import DeadLetters, Inspector
from taskrig.admin.dead_letters import FIELDS, is_id
from taskrig.broker import DeadLetter
from taskrig.task import MAX_TYPE_BYTES
from taskrig.texts import is_unicode
from taskrig.web.auth import Refused

MOST_IDS = 500
BUDGET_S = 2.0  # a long walk is done in parts: the page asks again with what it was told
WHY = "from the status page"


class Orders:
    """Carries orders out."""

    def __init__(self, operator: Inspector, letters: DeadLetters) -> None:
        self._operator = operator
        self._letters = letters

    def letter(self, text: str, most: int) -> DeadLetter | None:
        """One dead letter with up to `most` bytes of its item."""
        return self._letters.get(text, most) if is_id(text) else None

    def carry_out(self, order: str, body: bytes) -> dict[str, Any]:
        """Do it, and say what became of it.

        Raises:
            Refused: there is no such order, or it makes no sense.
            BrokerUnavailable: Redis is away.
        """
        try:
            said = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise _senseless("an order's body is a JSON object")
        if order in ("dead/requeue", "dead/drop"):
            return self._move(order.removeprefix("dead/"), said)
        if order == "pause":
            return self._pause(said)
        if order == "resume":
            return self._resume(said)
        if order == "cancel":
            return {"reply": self._operator.cancel(_text(said, "tag"))}
        if order == "drain":
            return {"reply": self._operator.drain(_text(said, "worker"))}
        raise Refused(HTTPStatus.NOT_FOUND, "no such order")

    def _pause(self, said: dict[str, Any]) -> dict[str, Any]:
        if "type" not in said:
            return {"paused": True, "changed": self._operator.pause(WHY)}
        changed = self._operator.pause_type(_type(said), _text(said, "why", WHY))
        return {"paused": True, "changed": changed}

    def _resume(self, said: dict[str, Any]) -> dict[str, Any]:
        if "type" not in said:
            return {"paused": False, "changed": self._operator.resume()}
        # What this leaves after its time is up, live workers bring back.
        changed, moved = self._operator.resume_type(_type(said), lambda _: None, BUDGET_S)
        return {"paused": False, "changed": changed, "moved": moved}

    def _move(self, act: str, said: dict[str, Any]) -> dict[str, Any]:
        ids, where = said.get("ids"), said.get("where")
        if isinstance(ids, list) and where is None:
            if len(ids) > MOST_IDS or not all(isinstance(i, str) and is_id(i) for i in ids):
                raise _senseless(f"ids is a list of at most {MOST_IDS} ids")
            return {"moved": sum(self._letters.move_one(act, one) for one in ids), "next": ""}
        if (
            ids is not None
            or not isinstance(where, dict)
            or not all(
                name in FIELDS and isinstance(value, str) and is_unicode(value)
                for name, value in where.items()
            )
        ):
            raise _senseless(f"give ids, or where with {', '.join(FIELDS)}")
        at, end = said.get("next") or "-", said.get("end") or ""
        if not isinstance(at, str) or not isinstance(end, str):
            raise _senseless("next and end are what the last answer told")
        if (at != "-" and not is_id(at.removeprefix("("))) or (end and not is_id(end)):
            raise _senseless("next and end are what the last answer told")
        return self._walk(act, where, at, end)

    def _walk(self, act: str, where: dict[str, str], at: str, end: str) -> dict[str, Any]:
        until, moved = time.monotonic() + BUDGET_S, 0
        for step in self._letters.move(act, where, at, end):
            moved, at, end = step.matching, step.next, step.end
            if time.monotonic() >= until:
                break
        return {"moved": moved, "next": at, "end": end}


def _text(said: dict[str, Any], name: str, default: str = "") -> str:
    value = said.get(name) or default
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not is_unicode(value):
        raise _senseless(f"{name} is missing, or is not text of at most 200 characters")
    return value


def _type(said: dict[str, Any]) -> str:
    """The task type that an order names: text that a task can have as its type."""
    task_type = said.get("type")
    if (
        isinstance(task_type, str)
        and is_unicode(task_type)
        and 0 < len(task_type.encode()) <= MAX_TYPE_BYTES
    ):
        return task_type
    raise _senseless(f"type is text of 1 to {MAX_TYPE_BYTES} bytes")


def _senseless(text: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, text)
