"""Standard output and error that never make their writer wait.

It may be that nobody reads them: the reader of a pipe was stopped, or a terminal by Ctrl-S. A plain
write then blocks for ever, and with it the event loop and the end of the process. Here a line is
written at once where that is possible. Else it waits in memory, within a bound, and a thread writes
it when somebody reads again. What is over the bound, and what the system refuses to write (a full
disk, a closed pipe), is dropped, counted, and told as soon as something can be written again.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import socket
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

KEPT_BYTES = 2**20  # of lines that wait for a reader: some 10,000 of them
STILL_S = 0.5  # at the end of the process: leave when nothing was read for so long ...
LAST_S = 5.0  # ... or after this
_LOOK_S = 0.01


class Outlet(io.RawIOBase):
    """The raw stream under a text stream."""

    def __init__(self, number: int, name: str) -> None:
        self._number, self._name = number, name
        self._write = _direct(number)
        self._turn = threading.RLock()  # a destructor or a signal may log in the middle of a write
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._full = False  # once something was dropped, nothing is kept until all is written
        self._untold = 0
        self._thread: threading.Thread | None = None
        self.dropped = 0  # lines, ever

    # -- as a stream -----------------------------------------------------------------------------

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The number of the descriptor."""
        return self._number

    def isatty(self) -> bool:
        """Whether people read it."""
        return os.isatty(self._number)

    def write(self, data: Any) -> int:
        """Take all of it, whatever becomes of it: written, kept or dropped."""
        text = bytes(data)
        with self._turn:
            if self._full or (self._waiting and self._bytes + len(text) > KEPT_BYTES):
                self._full = True
                self._drop(text)
            elif self._waiting or (written := self._attempt(text)) == 0:
                self._keep(text)
            elif written < len(text):
                self._keep(text[written:])
        return len(text)

    # -- now, later or never ---------------------------------------------------------------------

    def _attempt(self, text: bytes) -> int:
        """Write what can be written without waiting; the number of bytes dealt with."""
        if self._write is None:
            return 0
        try:
            written = self._write(text)
        except BlockingIOError:
            return 0
        except OSError:
            self._drop(text)
            return len(text)
        if self._untold:
            self._start()
        return written

    def _keep(self, text: bytes) -> None:
        self._waiting.append(text)
        self._bytes += len(text)
        self._start()

    def _drop(self, text: bytes) -> None:
        lines = max(1, text.count(b"\n"))
        self.dropped += lines
        self._untold += lines

    def _start(self) -> None:
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._work_off, daemon=True, name="outlet")
        try:
            self._thread.start()
        except RuntimeError:  # no more threads are to be had: the next line tries again
            self._thread = None

    def _work_off(self) -> None:
        """In a thread of its own: write what waits, tell of what was lost, and end."""
        while True:
            with self._turn:
                head = self._waiting[0] if self._waiting else b""
                if not head:
                    self._full = False
                    lost, self._untold = self._untold, 0
                    if not lost:
                        self._thread = None
                        return
            if head:
                self._advance(self._patiently(head))
            elif not self._told(lost):
                return

    def _patiently(self, text: bytes) -> int:
        """Write some of it, however long that takes; the number of bytes dealt with."""
        if self._write is None:
            try:
                return os.write(self._number, text)
            except BlockingIOError:
                return 0
            except OSError:
                with self._turn:
                    self._drop(text)
                return len(text)
        with self._turn:
            written = self._attempt(text)
        if not written:
            poll = select.poll()
            poll.register(self._number, select.POLLOUT)
            poll.poll(1000)
        return written

    def _advance(self, written: int) -> None:
        if written == 0:
            time.sleep(_LOOK_S)
            return
        with self._turn:
            rest = self._waiting.popleft()[written:]
            self._bytes -= written
            if rest:
                self._waiting.appendleft(rest)

    def _told(self, lost: int) -> bool:
        before = self.dropped
        _tell[0](lost, self._name)
        if self.dropped == before:
            return True
        with self._turn:  # that was lost too: the next line that can be written tries again
            self._untold += lost
            self._thread = None
        return False

    # -- the end ---------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait, within bounds, until what is kept has been written."""
        began = moved_at = time.monotonic()
        left = self._bytes
        while self._thread is not None and time.monotonic() < began + LAST_S:
            if self._bytes != left:
                left, moved_at = self._bytes, time.monotonic()
            if time.monotonic() > moved_at + STILL_S:
                return
            time.sleep(_LOOK_S)

    def forget(self) -> None:
        """In a forked child: what waits is the parent's to write, and its thread is not here."""
        self._turn = threading.RLock()
        self._waiting.clear()
        self._bytes = self._untold = 0
        self._full = False
        self._thread = None


def _direct(number: int) -> Callable[[bytes], int] | None:
    """How to write without waiting; None where only a thread can write.

    Other processes share the descriptor, so it is not switched to non-blocking: a pipe or terminal
    is opened once more instead.
    """
    mode = os.fstat(number).st_mode
    if stat.S_ISSOCK(mode):  # the journal of systemd
        return _sender(socket.socket(fileno=os.dup(number)))
    if stat.S_ISFIFO(mode) or os.isatty(number):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            return partial(os.write, os.open(f"/proc/self/fd/{number}", flags))
        except OSError:  # another user's, or a system that does it otherwise
            return None
    return partial(os.write, number)


def _sender(one: socket.socket) -> Callable[[bytes], int]:
    return lambda text: one.send(text, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


_outlets: list[Outlet] = []
_tell: list[Callable[[int, str], None]] = [lambda lines, name: None]


def unblock(name: str) -> tuple[Any, Any] | None:
    """Let sys.stdout or sys.stderr never block from now on.

    Returns the text stream that was there and the new one, for whoever has kept the old one; None
    for a stream that something else stands for (a test's capture, a redirection): it stays.
    """
    old, number = getattr(sys, name), {"stdout": 1, "stderr": 2}[name]
    if not _is_plain(old, number):
        return None
    old.flush()
    if not _outlets:
        os.register_at_fork(after_in_child=_forget)
        atexit.register(settle)
    outlet = Outlet(number, name)
    _outlets.append(outlet)
    new = io.TextIOWrapper(outlet, old.encoding, "backslashreplace", line_buffering=True)  # type: ignore[type-var]
    setattr(sys, name, new)
    return old, new


def tell_of_losses(tell: Callable[[int, str], None]) -> None:
    """From now on `tell` is given the number of lines that were dropped, and which stream's."""
    _tell[0] = tell


def _is_plain(stream: Any, number: int) -> bool:
    try:
        plain = stream.fileno() == number and os.fstat(number) is not None
    except (AttributeError, OSError, ValueError):
        return False
    return plain and not isinstance(getattr(stream, "buffer", None), Outlet)


def settle() -> None:
    """Wait, within bounds, until what is kept has been written."""
    for outlet in _outlets:
        outlet.settle()


def dropped() -> int:
    """Lines of both that were lost, ever."""
    return sum(outlet.dropped for outlet in _outlets)


def _forget() -> None:
    for outlet in _outlets:
        outlet.forget()
