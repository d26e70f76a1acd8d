"""The Lua scripts beside this package, loaded once, called by their hash."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

_FOLDER = files("taskrig.broker").joinpath("lua")
_INCLUDE = re.compile(rb"^ *-- @include (\S+)$", re.MULTILINE)


class Script:
    """One file of lua/, with what it includes, and the SHA-1 by which the server knows it."""

    __slots__ = ("call", "name", "sha", "teach", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        text = _FOLDER.joinpath(f"{name}.lua").read_bytes()
        self.text = _INCLUDE.sub(lambda at: _FOLDER.joinpath(at[1].decode()).read_bytes(), text)
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()
        self.call = b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n" % self.sha  # how a command begins
        self.teach = b"$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (len(self.text), self.text)


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
ADOPT = Script("adopt")
END_GROUPS = Script("end_groups")
RESULT = Script("result")
AMEND = Script("amend")
SET_BACK = Script("set_back")
FIND = Script("find")
RUN_NOW = Script("run_now")
TAKE_OUT = Script("take_out")
ENQUEUE = Script("enqueue")
GROUP_WAITS = Script("group_waits")
