"""What hangs at the start or at the end of a worker."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

from taskrig import handler, resource
from tests.support.handlers import _FOLDER


@resource
async def opens() -> AsyncIterator[None]:
    """Opens at once, and says when it is closed."""
    yield
    (_FOLDER / "closed").touch()


@resource
async def may_never_open() -> AsyncIterator[None]:
    """Opens when there is no file `hang`."""
    (_FOLDER / "opening").touch()
    while (_FOLDER / "hang").exists():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    yield


@handler("leaves_a_thread")
async def leaves_a_thread(data: Any) -> None:
    """Starts a thread for which Python waits at its end."""
    threading.Thread(target=time.sleep, args=(600,), name="left alone").start()


@handler("leaves_a_call")
async def leaves_a_call(data: Any) -> None:
    """Leaves a call in the event loop's pool of threads."""
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)


@handler("leaves_a_process")
async def leaves_a_process(data: Any) -> None:
    """Starts a process for which multiprocessing waits at the end."""
    multiprocessing.get_context("fork").Process(target=_live).start()


def _live() -> None:
    until = time.monotonic() + 60
    (_FOLDER / "lives").touch()
    while time.monotonic() < until and not (_FOLDER / "end").exists():
        time.sleep(0.05)


class _SlowToEnd:
    def __del__(self) -> None:
        time.sleep(0.05)


_of_thread = threading.local()


@handler("slow_to_end")
def slow_to_end(data: Any) -> None:
    """A plain function whose thread needs a moment from its result to its end."""
    _of_thread.value = _SlowToEnd()
