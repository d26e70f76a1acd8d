"""The clock that every measured handler carries, whatever the task queue: first call to last.

It lives inside the worker's process, needs nothing but the standard library, and is told what to
do by the environment: CLOCK_OUT names the file to write, CLOCK_EXPECT how many calls there will
be (0: not known; then the file is written when the process ends).
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import resource
import struct
import time
from typing import Any


class Clock:
    """Counts calls of handlers and remembers when the first and the last one came.

    Times are `time.monotonic()` seconds, which all processes of a host share.
    """

    def __init__(self, expect: int, out: str) -> None:
        self._expect = expect
        self._out = out
        self._count = itertools.count(1)  # one step of the interpreter: safe in threads
        self._first = self._last = 0.0
        self._calls = 0
        self._cpu_s = 0.0
        self._waits: list[float] = []
        if expect == 0 and out:
            atexit.register(self._write_at_end)

    def tick(self) -> None:
        """A handler has been called."""
        n = next(self._count)
        if n == 1:
            self._first = self._last = time.monotonic()
            self._cpu_s = _cpu_s()
        elif self._expect == 0:
            self._last = time.monotonic()
        if n == self._expect:
            self._last = time.monotonic()
            self._write(n)
        self._calls = n

    def tock(self) -> None:
        """A handler that takes its time has ended; counts instead of `tick` where ends matter."""
        if next(self._count) == self._expect:
            self._last = time.monotonic()
            self._write(self._expect)

    def begin(self) -> None:
        """A handler that takes its time was called; the first one starts the clock."""
        if not self._first:
            self._first = time.monotonic()
            self._cpu_s = _cpu_s()

    def picked_up(self, sent: float) -> None:
        """First line of a handler whose task left the producer at `sent`, monotonic seconds."""
        self._waits.append(time.monotonic() - sent)
        self.tick()

    def _write_at_end(self) -> None:
        if self._calls:
            self._write(self._calls)

    def _write(self, calls: int) -> None:
        found: dict[str, Any] = {
            "calls": calls,
            "first": self._first,
            "last": self._last,
            "cpu_s": _cpu_s() - self._cpu_s,
            "rss_bytes": rss_bytes(),
            "waits_s": self._waits,
        }
        beside = f"{self._out}.{os.getpid()}"
        with open(beside, "w") as file:
            json.dump(found, file)
        os.replace(beside, self._out)


class SharedClock(Clock):
    """A clock of several processes: each call adds a line to one file, the last one reads it."""

    def __init__(self, expect: int, out: str) -> None:
        super().__init__(expect, "")
        self._out = out
        self._line = struct.Struct("d")
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._file = os.open(f"{out}.calls", flags, 0o600) if out else -1

    def tick(self) -> None:
        """A handler has been called, in whichever process."""
        os.write(self._file, self._line.pack(time.monotonic()))
        if os.fstat(self._file).st_size == self._expect * self._line.size:
            with open(f"{self._out}.calls", "rb") as file:
                times = [at for (at,) in self._line.iter_unpack(file.read())]
            self._first, self._last = min(times), max(times)
            self._write(len(times))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_bytes() -> int:
    """Memory of this process that is in RAM now, in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


_kind = SharedClock if os.environ.get("PEER_FORM") == "process" else Clock
CLOCK = _kind(int(os.environ.get("CLOCK_EXPECT", "0")), os.environ.get("CLOCK_OUT", ""))
