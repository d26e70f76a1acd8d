"""Handlers that fork: by os.fork, multiprocessing and concurrent.futures. `how` says what then.

A child that lives writes its pid to the file `child-ID`; the status of one that its parent has
waited for is in the file `status-ID`. A process forks another child when there is `fork-PID`.
"""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from taskrig import handler
from tests.support.handlers import _FOLDER

_made_before: asyncio.Future[None] | None = None


def _write(name: str, text: object) -> None:
    (_FOLDER / f"{name}.tmp").write_text(str(text))
    (_FOLDER / f"{name}.tmp").rename(_FOLDER / name)


def _live(task_id: Any) -> None:
    _write(f"child-{task_id}", os.getpid())
    time.sleep(600)


def _execute(task_id: Any) -> None:
    _write(f"child-{task_id}", os.getpid())
    os.execvp("sleep", ["sleep", "600"])


def _raise() -> None:
    raise RuntimeError("of the child")


def _exit_by_hand() -> None:
    sys.exit(7)


def _say_why() -> None:
    sys.exit("so long")


def _with_atexit() -> None:
    atexit.register(_write, "atexit", os.getpid())
    sys.exit(0)


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)


def _close_everything() -> None:
    os.closerange(3, 1024)
    os._exit(5)


def _write_everywhere() -> None:
    for descriptor in range(3, 256):
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                continue  # the tests' own notes
            os.write(descriptor, b"*1\r\n$8\r\nFLUSHALL\r\n\x0f\x0f\x0f\x0f")
        except OSError:
            continue
    os._exit(5)


def _close_the_loop() -> None:
    """What libraries do at their end with what they have inherited."""
    for one in asyncio.all_tasks(_loop) if _loop is not None else ():
        one.cancel()
    os._exit(5)


def _own_loop() -> None:
    async def main() -> None:
        await asyncio.sleep(0.01)
        _write("own_loop", "ran")

    asyncio.run(main())
    os._exit(5)


_loop: Any = None
_HOW = {
    "return": lambda: None,
    "raise": _raise,
    "sys.exit": _exit_by_hand,
    "sys.exit with a text": _say_why,
    "atexit": _with_atexit,
    "os._exit": lambda: os._exit(3),
    "SIGINT": _interrupt,
    "close": _close_everything,
    "write": _write_everywhere,
    "cancel": _close_the_loop,
    "own loop": _own_loop,
}


def _do(data: dict[str, Any]) -> None:
    """In the child."""
    how = data["how"]
    if how == "live":
        _live(data["id"])
    elif how == "exec":
        _execute(data["id"])
    else:
        _HOW[how]()


def _wait_for(pid: int, data: dict[str, Any]) -> None:
    _, status = os.waitpid(pid, 0)
    _write(f"status-{data['id']}", os.waitstatus_to_exitcode(status))


async def _first(data: dict[str, Any]) -> None:
    """Wait as the task says, so that it forks in a later step; else in its first one."""
    if data.get("first_s"):
        await asyncio.sleep(data["first_s"])


@handler("fork")
async def fork(data: dict[str, Any]) -> None:
    """A coroutine that forks, and waits for the child unless it is to live."""
    global _loop
    _loop = asyncio.get_running_loop()
    await _first(data)
    pid = os.fork()
    if pid == 0:
        _do(data)
        return
    if data.get("wait", True):
        await asyncio.to_thread(_wait_for, pid, data)


@handler("fork_in_thread")
def fork_in_thread(data: dict[str, Any]) -> None:
    """A plain function that does the same."""
    pid = os.fork()
    if pid == 0:
        _do(data)
        return
    if data.get("wait", True):
        _wait_for(pid, data)


@handler("fork_in_task")
async def fork_in_task(data: dict[str, Any]) -> None:
    """A coroutine that forks in a task of its own."""

    async def inner() -> int:
        await _first(data)
        pid = os.fork()
        if pid == 0:
            _do(data)
        return pid

    await asyncio.to_thread(_wait_for, await asyncio.create_task(inner()), data)


@handler("fork_in_callback")
async def fork_in_callback(data: dict[str, Any]) -> None:
    """A coroutine that forks in a callback of the event loop, which no task runs."""
    loop = asyncio.get_running_loop()
    forked: asyncio.Future[int] = loop.create_future()

    def callback() -> None:
        pid = os.fork()
        if pid == 0:
            _do(data)
        else:
            forked.set_result(pid)

    loop.call_later(data.get("first_s", 0), callback)
    await asyncio.to_thread(_wait_for, await forked, data)


@handler("fork_and_await")
async def fork_and_await(data: dict[str, Any]) -> None:
    """A coroutine whose child goes on as if it had an event loop."""
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await _first(data)
    pid = os.fork()
    if pid == 0:
        await opened
        return
    await asyncio.to_thread(_wait_for, pid, data)


def _square(number: int) -> int:
    return number * number


def _use(kind: str, start: str) -> None:
    context: Any = multiprocessing.get_context(start)
    if kind == "Process":
        process = context.Process(target=_square, args=(3,))
        process.start()
        process.join()
        assert process.exitcode == 0, process.exitcode
        stays = context.Process(target=time.sleep, args=(600,))
        stays.start()
        stays.terminate()
        stays.join()
        assert stays.exitcode == -signal.SIGTERM, stays.exitcode
    elif kind == "Pool":
        pool = context.Pool(2)
        assert pool.map(_square, range(5)) == [0, 1, 4, 9, 16]
        pool.terminate()
        pool.join()
    elif kind == "ProcessPoolExecutor":
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            assert list(executor.map(_square, range(5))) == [0, 1, 4, 9, 16]
    else:
        out = subprocess.run(["echo", "hello"], capture_output=True, check=True).stdout
        quiet = subprocess.run(["true"], preexec_fn=os.getpid, check=True)
        assert (out, quiet.returncode) == (b"hello\n", 0)


@handler("use")
async def use(data: dict[str, Any]) -> None:
    """A coroutine that uses processes, holding the event loop meanwhile."""
    _use(data["kind"], data["start"])


@handler("use_in_thread")
def use_in_thread(data: dict[str, Any]) -> None:
    """A plain function that uses processes."""
    _use(data["kind"], data["start"])


@handler("leave_behind")
def leave_behind(data: dict[str, Any]) -> None:
    """Starts a process of multiprocessing that lives on, and does not wait for it."""
    process = multiprocessing.get_context("fork").Process(target=_live, args=(data["id"],))
    process.start()
    while not (_FOLDER / f"child-{data['id']}").exists():
        time.sleep(0.01)


def _fork_when_asked() -> None:
    while not (_FOLDER / f"fork-{os.getpid()}").exists():
        time.sleep(0.05)
    if os.fork() == 0:
        _live("of the parent")


threading.Thread(target=_fork_when_asked, daemon=True).start()
