"""Handlers whose code reaches for what belongs to the worker, or to the whole process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import threading
from typing import Any

from taskrig import handler


@handler("well")
async def well(data: Any) -> None:
    """Does nothing wrong."""


@handler("waits")
async def waits(data: Any) -> None:
    """Takes long."""
    await asyncio.sleep(60)


@handler("cancels_all")
async def cancels_all(data: dict[str, Any]) -> None:
    """Cancels the tasks of the loop: all, all others, or those whose coroutine `named` names."""
    for task in asyncio.all_tasks():
        name = getattr(task.get_coro(), "__qualname__", "")
        if data.get("named", name) in name:
            task.cancel()
    await asyncio.sleep(0)


@handler("cancels_on_and_on")
async def cancels_on_and_on(data: Any) -> None:
    """Cancels all others again and again."""
    while True:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            continue


@handler("stops_loop")
async def stops_loop(data: Any) -> None:
    """Stops the event loop."""
    asyncio.get_running_loop().stop()


@handler("raises_past_its_task")
async def raises_past_its_task(data: Any) -> None:
    """Lets exceptions that cannot be printed leave callbacks of the loop."""
    loop = asyncio.get_running_loop()
    for fault in (Unprintable(), UnprintableBase(), UnprintableExit()):
        loop.call_soon(_raise, fault)


def _raise(fault: BaseException) -> None:
    raise fault


class Unprintable(Exception):
    """Nothing of it can be shown."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__

    def __bool__(self) -> bool:
        raise SystemExit(3)


class UnprintableBase(BaseException):
    """One that is not an Exception."""

    __str__ = __repr__ = __bool__ = Unprintable.__str__  # type: ignore[assignment]


class UnprintableExit(Unprintable, SystemExit):
    """One that leaves the event loop."""


@handler("shuts_executor")
async def shuts_executor(data: Any) -> None:
    """Ends the loop's pool of threads."""
    await asyncio.get_running_loop().shutdown_default_executor()


@handler("closes_loop")
async def closes_loop(data: Any) -> None:
    """Closes the event loop, now and a moment later."""
    asyncio.get_running_loop().call_soon(asyncio.get_running_loop().close)
    asyncio.get_running_loop().close()


@handler("stops_and_closes_loop")
async def stops_and_closes_loop(data: Any) -> None:
    """Stops the event loop, and has it closed by a thread while it stands still."""
    loop = asyncio.get_running_loop()
    closed = threading.Event()

    def close() -> None:
        while not loop.is_closed():
            with contextlib.suppress(RuntimeError):
                loop.close()
        closed.set()

    threading.Thread(target=close, daemon=True).start()
    # Holds the worker back before it goes on.
    logging.getLogger("taskrig").addFilter(
        lambda record: "stopped the event loop" not in record.getMessage() or closed.wait(10)
    )
    loop.stop()


@handler("flattens")
async def flattens(data: dict[str, Any]) -> None:
    """Sets the recursion limit to as little as it can, or to `limit`."""
    for limit in range(data.get("limit", 1), 1000):
        try:
            sys.setrecursionlimit(limit)
        except RecursionError:
            continue
        return


@handler("flattens_in_thread")
def flattens_in_thread(data: dict[str, Any]) -> None:
    """The same from a thread."""
    sys.setrecursionlimit(data.get("limit", 20))


@handler("flattens_a_little")
async def flattens_a_little(data: Any) -> None:
    """Sets the recursion limit to what is enough for most."""
    sys.setrecursionlimit(500)


@handler("takes_signals")
async def takes_signals(data: Any) -> None:
    """Takes the signals for itself, in every way that there is."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
