"""In a child that a handler forks nothing of the worker works: no socket, no event loop.

os.fork copies a process in the middle of whatever it does. So in its first moment the child's
copies of our descriptors are replaced by ones that lead nowhere: else it would hold the HTTP port
and the worker's connections open for as long as it lives. And where the child leaves the handler's
code, it ends: what called that code is the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterable
from typing import IO, Any, NoReturn, Protocol


class Owner(Protocol):
    """Something of ours that has open descriptors."""

    def descriptors(self) -> Iterable[int]: ...


child = False  # whether this process is a child that handlers' code forked from a worker

_owners: weakref.WeakSet[Owner] = weakref.WeakSet()
_registered = False
_ours = False  # whether a worker, or a supervisor of some, runs in this process
_loop: asyncio.AbstractEventLoop | None = None
_loop_thread = 0
_polled: dict[int, str] = {}  # what the loop waits with: descriptor -> what it is
_NOBODY: Any = object()


def own(owner: Owner) -> None:
    """Keep the descriptors of this object from children, for as long as it lives."""
    _owners.add(owner)


def watched(make: Callable[[], asyncio.AbstractEventLoop]) -> asyncio.AbstractEventLoop:
    """Make an event loop, and note the descriptors that it waits with."""
    before = _open()
    loop = make()
    _polled.update(_open().items() - before.items())
    return loop


def begin(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """A worker runs from now on, in this thread and on this loop, or a supervisor without one."""
    global _registered, _ours, _loop, _loop_thread, child
    if not _registered:
        os.register_at_fork(after_in_child=_in_child)
    _registered, _ours, child = True, True, False
    _loop, _loop_thread = loop, threading.get_ident()


def end() -> None:
    """It has ended: what this process forks later is its own affair."""
    global _ours, _loop
    _ours, _loop = False, None
    _polled.clear()


def leave(fault: BaseException | None = None) -> NoReturn:
    """End this child, which has left the code that forked it: by `fault`, or by returning."""
    code = int(fault is not None)
    with contextlib.suppress(BaseException):
        if isinstance(fault, SystemExit) and (fault.code is None or isinstance(fault.code, int)):
            code = fault.code or 0
        elif isinstance(fault, SystemExit):
            sys.stderr.write(f"{fault.code}\n")
        elif fault is not None:
            traceback.print_exception(fault)
    _exit(code)


def leave_loop() -> NoReturn:
    """End this child, which has come back to the worker's event loop."""
    with contextlib.suppress(BaseException):
        sys.stderr.write(
            "a child that a handler forked came back to the worker's event loop and was ended; "
            "it should end itself, by os._exit\n"
        )
    _exit(1)


def _exit(code: int) -> NoReturn:
    for file in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            file.flush()
    os._exit(code & 0xFF)


def _in_child() -> None:
    global child
    if not _ours:
        return
    child = True
    for owner in list(_owners):
        for descriptor in _descriptors(owner):
            _lead_nowhere(descriptor)
    for descriptor, what in _polled.items():
        # Shared with the worker: what is taken out of it here would be taken out there.
        _lead_nowhere(descriptor, select.epoll if "eventpoll" in what else _nowhere)
    if _loop is not None and threading.get_ident() == _loop_thread:
        with contextlib.suppress(Exception):
            _stop(_loop)


def _descriptors(owner: Owner) -> list[int]:
    with contextlib.suppress(Exception):  # it was forked in any state
        return [descriptor for descriptor in owner.descriptors() if descriptor > 2]
    return []


def _nowhere() -> IO[bytes]:
    return open(os.devnull, "r+b", buffering=0)


def _lead_nowhere(descriptor: int, where: Callable[[], Any] = _nowhere) -> None:
    """Replaced, not closed: whoever knows its number must not meet another file under it."""
    with contextlib.suppress(OSError), contextlib.closing(where()) as other:
        os.dup2(other.fileno(), descriptor, inheritable=False)


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    """No task of the worker's loop takes another step: each finds another one at it."""
    task = asyncio.current_task(loop)
    if task is not None:
        asyncio.tasks._leave_task(loop, task)
    asyncio.tasks._enter_task(loop, _NOBODY)
    loop.call_soon(leave_loop)


def sockets() -> frozenset[int]:
    """The descriptors that are sockets; none where that cannot be seen."""
    return frozenset(number for number, what in _open().items() if what.startswith("socket:"))


def _open() -> dict[int, str]:
    """What is open here, and what each is; nothing where that cannot be seen."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the one of the listing itself
                found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found
