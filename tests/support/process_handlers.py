"""Handlers that run in processes of their own: good ones, and all that may go wrong in one."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from taskrig import Reject, Retry, context, handler, resource
from tests.support.handlers import _Noted


@handler("good", run_in="process")
def good(data: dict[str, Any]) -> None:
    """Notes that it ran."""
    with _Noted(data):
        pass


@handler("good_coroutine", run_in="process")
async def good_coroutine(data: dict[str, Any]) -> None:
    """The same, as a coroutine."""
    with _Noted(data):
        await asyncio.sleep(0)


@handler("good_in_thread", run_in="thread")
async def good_in_thread(data: dict[str, Any]) -> None:
    """A coroutine in a thread, which has an event loop of its own and may hold it."""
    with _Noted(data):
        await asyncio.sleep(0)
        time.sleep(data.get("s", 0))  # noqa: ASYNC251


@handler("hold", run_in="process")
def hold(data: dict[str, Any]) -> None:
    """Takes `s` seconds."""
    with _Noted(data):
        time.sleep(data["s"])


@handler("hold_coroutine", run_in="process", timeout_s=0.5)
async def hold_coroutine(data: dict[str, Any]) -> None:
    """Takes `s` seconds, under a timeout of 0.5 s."""
    with _Noted(data):
        await asyncio.sleep(data["s"])


@handler("until_drain", run_in="process")
def until_drain(data: dict[str, Any]) -> None:
    """Runs until its worker drains."""
    with _Noted(data):
        while not context().draining:
            time.sleep(0.01)


@handler("fail", run_in="process", retries=1, backoff_s=0)
def fail(data: dict[str, Any]) -> None:
    """Raises as it is told."""
    at = context()
    at.log.warning("attempt %d, %d left, of %s", at.attempts, at.retries_left, at.tag)
    if data.get("reject"):
        raise Reject("not this one")
    if data.get("after") is not None:
        raise Retry("later", after=data["after"])
    raise ValueError(data.get("text"))


@resource
async def opened_once() -> AsyncIterator[int]:
    """Its value says in which process it was opened."""
    yield os.getpid()


@handler("uses_resource", run_in="process")
def uses_resource(data: dict[str, Any]) -> None:
    """Needs the resource of its own process."""
    if opened_once.get() != os.getpid():
        raise ValueError("a resource of another process")


# -- what may go wrong ---------------------------------------------------------------------------


@handler("sleeps", run_in="process", timeout_s=0.5)
def sleeps(data: Any) -> None:
    """For ever."""
    while True:
        time.sleep(60)


@handler("ignores", run_in="process", timeout_s=0.5)
def ignores(data: Any) -> None:
    """Will not hear of SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


@handler("catches", run_in="process", timeout_s=0.5)
def catches(data: Any) -> None:
    """Goes on whatever is raised in it."""
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


@handler("grows", run_in="process", memory="200MiB")
def grows(data: Any) -> None:
    """Allocates without end."""
    kept = []
    while True:
        kept.append(os.urandom(2**20))
        time.sleep(0.002)


@handler("bursts", run_in="process", memory="200MiB")
def bursts(data: Any) -> None:
    """Allocates more than there is, at once."""
    bytearray(2**36)


@handler("segfaults", run_in="process")
def segfaults(data: Any) -> None:
    """Reads where nothing is."""
    ctypes.string_at(0)


@handler("exits", run_in="process")
def exits(data: Any) -> None:
    """Leaves without a word."""
    os._exit(3)


@handler("hangs_up", run_in="process")
def hangs_up(data: Any) -> None:
    """Closes every file that is not its own."""
    os.closerange(3, 200)
    time.sleep(60)


@handler("forks", run_in="process", timeout_s=0.5)
def forks(data: Any) -> None:
    """Starts processes that would outlive it, one in a session of its own."""
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    subprocess.Popen(sleep)
    subprocess.Popen(sleep, start_new_session=True)
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    time.sleep(600)


@handler("loud", run_in="process")
def loud(data: Any) -> None:
    """Writes a megabyte to standard output."""
    print("x" * 2**20)


@handler("mute", run_in="process")
def mute(data: Any) -> None:
    """Prints to a standard output that is closed."""
    sys.stdout.close()
    print("nobody will see this")
