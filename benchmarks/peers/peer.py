"""What an adapter says about its task queue. One adapter a file; see `arq.py` for a short one.

An adapter is imported twice: here, where its library is not installed, for its PEER; and inside
the peer's own environment, where it also makes the app and puts tasks on the queue. So libraries
are imported in functions only.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

NAMES = (
    *("arq", "saq", "taskiq", "blitzq", "streaq", "ardiq", "cauli"),
    *("rq", "celery", "dramatiq", "huey", "bullmq", "bare"),
)
COROUTINE, PLAIN, PROCESS = "coroutine", "plain", "process"  # forms of a handler
AT_LEAST_ONCE = "at least once"
AT_MOST_ONCE = "at most once: a killed worker loses what it had taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One task queue, and how it is run.

    Args:
        name: as its authors write it.
        packages: what its environment is made of, for pip (or npm).
        durability: what a killed worker means for the tasks it had taken.
        setup: what was set beside the defaults, and why.
        slots: "asyncio", "threads" or "one at a time": what runs side by side in its process.
        forms: of handlers that it can run, its usual one first.
        command: the worker's command line, from the environment's folder, slots, server URL and
            the handlers' form.
        drain_tasks: about what it drains in three seconds, so that a round takes as long for all.
        oldest_python: the least Python it runs on.
    """

    name: str
    packages: tuple[str, ...]
    durability: str
    setup: str
    slots: str
    forms: tuple[str, ...]
    command: Callable[[Path, int, str, str], list[str]]
    drain_tasks: int
    oldest_python: tuple[int, int] = (3, 11)
    is_python: bool = True


class Producer(Protocol):
    """Puts tasks on the queue, inside the peer's environment."""

    async def one(self, kind: str, value: float) -> None:
        """One task, as an application does."""

    async def many(self, kind: str, values: Sequence[float]) -> None:
        """Many at once, by the quickest documented way."""

    async def close(self) -> None:
        """Let go of the connections."""


def load_peer(name: str) -> Peer:
    """The PEER of the adapter `name`."""
    peer: Peer = importlib.import_module(f"benchmarks.peers.{name}").PEER
    return peer


def url() -> str:
    """Inside a peer's environment: the server."""
    return os.environ["PEER_URL"]


def slots() -> int:
    """Inside a peer's environment: how many tasks may run at once."""
    return int(os.environ["PEER_SLOTS"])


def form() -> str:
    """Inside a peer's environment: which form of handlers it runs."""
    return os.environ["PEER_FORM"]


def inside(name: str) -> Callable[[Path, int, str, str], list[str]]:
    """The command of a peer whose worker the adapter starts itself."""

    def command(folder: Path, _slots: int, _url: str, _form: str) -> list[str]:
        return [str(folder / "bin" / "python"), "-m", "benchmarks.peers.inside", name, "work"]

    return command
