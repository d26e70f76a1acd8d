"""Outputs for programs under test that are read only when the test wants it."""

from __future__ import annotations

import fcntl
import os
import pty
import termios
import threading
import time


class Output:
    """What a program writes to: a pipe or a terminal that is read only when the test wants it."""

    def __init__(self, kind: str = "pipe") -> None:
        if kind == "pipe":
            self.reader, self.writer = os.pipe()
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        else:
            self.reader, self.writer = pty.openpty()
        self._read: list[bytes] = []

    def stop_terminal(self) -> None:
        """Ctrl-S."""
        termios.tcflow(self.writer, termios.TCOOFF)

    def go_on(self) -> None:
        """Ctrl-Q."""
        termios.tcflow(self.writer, termios.TCOON)

    def start_reading(self, pause_s: float = 0.0) -> None:
        """Read on in a thread, a part at a time, until every writer has closed it."""
        os.close(self.writer)
        self.writer = -1
        self._thread = threading.Thread(target=self._read_on, args=(pause_s,), daemon=True)
        self._thread.start()

    def _read_on(self, pause_s: float) -> None:
        while True:
            try:
                part = os.read(self.reader, 4096)
            except OSError:  # a terminal whose other side is gone
                return
            if not part:
                return
            self._read.append(part)
            if pause_s:
                time.sleep(pause_s)

    def text(self) -> str:
        """What was read so far."""
        return b"".join(self._read).decode()

    def all_text(self, timeout_s: float = 20) -> str:
        """All of it, when its writers have ended."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive()
        return self.text()


def full_pipe() -> Output:
    """A pipe that takes nothing more."""
    out = Output()
    os.set_blocking(out.writer, False)
    try:
        while True:
            os.write(out.writer, b"x" * 512)
    except BlockingIOError:
        os.set_blocking(out.writer, True)
    return out
