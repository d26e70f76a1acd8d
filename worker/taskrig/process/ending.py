"""The last moments of a process: it ends, whatever handlers' code has left running in it."""

from __future__ import annotations

import logging
import multiprocessing.process
import os
import threading
import time
from typing import NoReturn

from taskrig.runtime.logs import without_waiting
from taskrig.runtime.outlet import settle

log = logging.getLogger("taskrig")

END_S = 5.0  # for functions of atexit, such as one that sends the last spans


def exit_now(code: int) -> NoReturn:
    """End without waiting for threads or children, and without atexit."""
    without_waiting(logging.shutdown)
    settle()
    os._exit(code)


def end_within(code: int, seconds: float = END_S) -> None:
    """Python itself waits for threads, and multiprocessing for children: not longer than this."""

    def end() -> None:
        time.sleep(seconds)
        left = [thread.name for thread in threading.enumerate() if not _is_ours(thread)]
        left += [f"process {child.pid}" for child in multiprocessing.process.active_children()]
        text = "something that a handler started does not end: %s; leaving without it, exit %d"
        without_waiting(log.warning, text, ", ".join(left) or "not known what", code)
        exit_now(code)

    threading.Thread(target=end, daemon=True, name="end").start()


def _is_ours(thread: threading.Thread) -> bool:
    return thread.daemon or thread is threading.main_thread()
