"""Handlers that use what handler authors are offered: context, Retry, limits."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from taskrig import Reject, Retry, context, handler
from tests.support.said import FOLDER, say


@handler("flaky", retries=3, backoff_s=0.2)
async def flaky(data: dict[str, Any]) -> None:
    """Fails until attempt number `good`."""
    at = context()
    say(id=data["id"], attempts=at.attempts, deliveries=at.deliveries, tag=at.tag)
    if at.attempts < data["good"]:
        raise ConnectionError("not yet")


@handler("flaky_thread", retries=3, backoff_s=0.0)
def flaky_thread(data: dict[str, Any]) -> None:
    """The same as a plain function."""
    at = context()
    say(id=data["id"], attempts=at.attempts, type=at.type, left_s=at.left_s)
    at.log.warning("100%% in a thread, %s", "bound")
    if at.attempts < data["good"]:
        raise ConnectionError("not yet")


@handler("asks_again", retries=2)
async def asks_again(data: dict[str, Any]) -> None:
    """Asks to be run again after `after` seconds."""
    say(id=data["id"], attempts=context().attempts)
    raise Retry("the other side is busy", after=data["after"])


@handler("hopeless", retries=5, backoff_s=0.0)
async def hopeless(data: dict[str, Any]) -> None:
    """Rejects, which no retry mends."""
    say(id=data["id"])
    raise Reject("no such account")


@handler("slow_at_first", retries=1, backoff_s=0.0, timeout_s=0.2)
async def slow_at_first(data: dict[str, Any]) -> None:
    """Runs into its timeout at the first attempt."""
    at = context()
    say(id=data["id"], attempts=at.attempts, left_s=at.left_s)
    if at.attempts == 1:
        await asyncio.sleep(30)


@handler("dies_at", retries=5, backoff_s=0.0)
async def dies_at(data: dict[str, Any]) -> None:
    """Fails at every attempt but kills its worker at attempt number `dies`, once."""
    at = context()
    say(id=data["id"], attempts=at.attempts, deliveries=at.deliveries)
    if at.attempts == data["dies"] and at.deliveries == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if at.attempts < data["good"]:
        raise ConnectionError("not yet")


@handler("waits_for_drain", retries=1)
async def waits_for_drain(data: dict[str, Any]) -> None:
    """Runs until its worker drains, or for ever with `stubborn`."""
    at = context()
    say(id=data["id"], attempts=at.attempts, draining=at.draining)
    while not at.draining or data.get("stubborn"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    say(id=data["id"], draining=at.draining)


@handler("says")
async def says(data: dict[str, Any]) -> None:
    """Says that it ran, and what a task of its own sees of the context."""

    async def inner() -> str:
        return context().tag

    at = context()
    say(id=data["id"], same=await asyncio.create_task(inner()) == at.tag, left_s=at.left_s)
    at.log.info("runs in %s", FOLDER.name)


@handler("limited")
async def limited(data: dict[str, Any]) -> None:
    """Says when it starts and ends, and takes `s` seconds."""
    say(id=data["id"], event="start", type="limited")
    try:
        await asyncio.sleep(data.get("s", 0.05))
    finally:
        say(id=data["id"], event="end")


@handler("sleeps")
async def sleeps(data: dict[str, Any]) -> None:
    """Takes `s` seconds and says nothing."""
    await asyncio.sleep(data["s"])


@handler("hogs")
async def hogs(data: dict[str, Any]) -> None:
    """Holds up its worker's event loop for `s` seconds, as handlers must not."""
    time.sleep(data["s"])  # noqa: ASYNC251


@handler("gated")
async def gated(data: dict[str, Any]) -> None:
    """Runs until the test opens the gate."""
    say(id=data["id"], event="start")
    while not (FOLDER / "open").exists():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    say(id=data["id"], event="end")


@handler("fails_once", retries=1, backoff_s=0.0)
async def fails_once(data: dict[str, Any]) -> None:
    """Fails at its first attempt."""
    say(id=data["id"], event="start")
    if context().attempts == 1:
        raise Retry("once more", after=data.get("after", 0.0))
