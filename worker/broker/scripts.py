"""The Lua scripts beside this package, loaded once, called by their hash."""

from __future__ import annotations

import hashlib
from importlib.resources import files


class Script:
    """One file of worker/lua: its text and the SHA-1 by which the server knows it."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = files("worker").joinpath("lua", f"{name}.lua").read_bytes()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


EXCHANGE = Script("exchange")
GATE = Script("gate")
SCHEDULE = Script("schedule")
RENEW = Script("renew")
LEAVE = Script("leave")
PASS_ON = Script("pass_on")
RECLAIM = Script("reclaim")
FORGET = Script("forget")
LOOK = Script("look")
SURVEY = Script("survey")
HELD = Script("held")
PAUSE = Script("pause")
PAUSE_TYPE = Script("pause_type")
BRING_BACK = Script("bring_back")
ASK = Script("ask")
ORPHANS = Script("orphans")
DEAD_PAGE = Script("dead_page")
DEAD_MOVE = Script("dead_move")
PEEK = Script("peek")
RESULT = Script("result")
