"""What belongs to the whole process, and a handler's code may have changed: it is put back."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading

from taskrig.errors import Interfered
from taskrig.process.controls import Controls
from taskrig.runtime import early

log = logging.getLogger("taskrig")

LOOK_S = 0.25  # for so long a signal may reach somebody else
ENOUGH = 200  # frames: with fewer, calls of the worker itself may have failed meanwhile
END_S = 3.0  # how long the event loop may take to end the worker


class Kept:
    """The signals that end the worker, and room for its own calls on the stack.

    A thread looks: where calls fail for lack of room, no callback of the event loop is sure to run.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, controls: Controls) -> None:
        self._loop = loop
        self._controls = controls
        self._frames = sys.getrecursionlimit()
        self._ended = threading.Event()
        self._said: set[str] = set()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._watch, daemon=True, name="kept").start()

    def close(self) -> None:
        """The worker has ended."""
        self._ended.set()

    def put_back_frames(self) -> str:
        """Allow as many frames as before; returns what was done to them, to end a line with."""
        allowed = sys.getrecursionlimit()
        if allowed >= self._frames:
            return ""
        sys.setrecursionlimit(self._frames)
        return f" (a handler's code had set the recursion limit to {allowed})"

    def _watch(self) -> None:
        while True:
            try:
                if self._ended.wait(LOOK_S):
                    return
            except RecursionError:
                pass
            allowed = sys.getrecursionlimit()
            done = self.put_back_frames()
            if done and allowed < ENOUGH:
                self._controls.fail(Interfered(f"there was too little room for calls{done}"))
                if not self._ended.wait(END_S):
                    self._controls.give_up(f"the event loop does not end{done}", code=1)
            elif done:
                self._say(f"there is room for calls again{done}")
            try:
                self._loop.call_soon_threadsafe(self._take_signals_back)
            except RuntimeError:
                return  # the loop has ended

    def _take_signals_back(self) -> None:
        for number in early.take_back():
            name = signal.Signals(number).name
            self._say(
                f"a handler's code took {name} from the worker, which needs it to end: "
                "it is the worker's again"
            )

    def _say(self, line: str) -> None:
        if line not in self._said and len(self._said) < 100:
            self._said.add(line)
            log.error("%s (said once)", line)
