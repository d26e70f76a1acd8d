"""The process that makes the children of a worker, before the worker has ports, signals or Redis.

It has the handlers imported, so a child is a fork of it: it begins at once and shares its memory.
Where a handler module has started threads a fork would copy their locks and not them: then a child
is a program of its own, started by the worker's command line, which imports the handlers again.

It ends when the worker does, however that ends, and takes all children and theirs along.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from taskrig.authoring.registry import Registry
from taskrig.config.sections import Config
from taskrig.engine.policies import Policies
from taskrig.engine.processes import BEGUN, NOT_MADE
from taskrig.errors import Interfered, TaskrigError, UsageError
from taskrig.process.task_child import TaskChild
from taskrig.runtime import early, forked
from taskrig.runtime.logs import stay_seen
from taskrig.runtime.memory import resident_bytes
from taskrig.units import size_text

log = logging.getLogger("taskrig")

RESTART_S = 10.0  # one that ends again within this is not started once more
END_S = 2.0  # how long the last processes may take to end after SIGKILL
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>

Make = Callable[[socket.socket], int]  # a child with this end of its socket pair; its pid


def launcher_for(
    config: Config, registry: Registry, keep_from: Iterable[int] = ()
) -> Launcher | None:
    """Start the process where a type is to run in processes. `keep_from`: descriptors it closes.

    Raises:
        UsageError: the settings of a type's processes cannot be.
        TaskrigError: the system has no room for it.
    """
    policies = Policies.of(registry, config)
    policies.batched()  # refuses what cannot be
    served = policies.in_processes()
    if not served:
        return None
    baseline = resident_bytes()
    for policy in served:
        most = policy.options.memory
        if most is not None and most <= baseline:
            raise UsageError(
                f"memory of {policy.label}: {size_text(most)} is less than a process has before "
                f"its first task ({baseline / 2**20:.0f} MiB)"
            )
    ours, theirs = socket.socketpair()
    others = [one for one in threading.enumerate() if one is not threading.main_thread()]
    foreign = [one.name for one in others if one.name != "outlet"]
    for descriptor in keep_from:
        os.set_inheritable(descriptor, False)
    if foreign:
        log.warning(
            "a handler module starts threads when it is imported (%s), so processes for tasks are "
            "not forked: each imports the handlers again",
            ", ".join(foreign)[:200],
        )
    sys.stdout.flush()
    try:
        pid = _program("template", theirs) if foreign else os.fork()
    except OSError as fault:
        why = f"{fault.strerror}, when the process that starts those of tasks was to be made"
        raise TaskrigError(why) from fault
    if pid == 0:
        ours.close()
        for descriptor in keep_from:
            os.close(descriptor)
        _Template(theirs, _forking(theirs, registry, policies)).serve()
    theirs.close()
    return Launcher(ours, pid, "template" if foreign else "forking template")


def play_role(config: Config, registry: Callable[[], Registry]) -> None:
    """Does not return in a process that was started to be something else than a worker."""
    told = os.environ.pop(early.ROLE_ENV, None)
    if told is None:
        return
    role = json.loads(told)
    link = socket.socket(fileno=role["fd"])
    link.set_inheritable(False)
    if role["role"] == "template":
        _Template(link, lambda one: _program("child", one)).serve()
    handlers = registry()
    stay_seen()
    policies = Policies.of(handlers, config)
    if role["role"] == "forking template":
        _Template(link, _forking(link, handlers, policies)).serve()
    _be_a_child(link, handlers, policies, role["parent"])


def _program(role: str, link: socket.socket) -> int:
    """Start this program again, with a role."""
    told = json.dumps({"role": role, "fd": link.fileno(), "parent": os.getpid()})
    link.set_inheritable(True)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *sys.orig_argv[1:]],
        {**os.environ, early.ROLE_ENV: told},
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setsigmask=early.ENDING,  # until it has its role, and knows what to do about them
    )


def _forking(control: socket.socket, registry: Registry, policies: Policies) -> Make:
    def make(link: socket.socket) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            control.close()
            _be_a_child(link, registry, policies, parent)
        return pid

    gc.collect()
    gc.freeze()  # what is here now stays shared with the children
    return make


def _be_a_child(
    link: socket.socket, registry: Registry, policies: Policies, parent: int
) -> NoReturn:
    try:
        os.setpgid(0, 0)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        TaskChild(link, policies, registry).run()
    except SystemExit:  # told to end, between two tasks
        os._exit(0)
    except BaseException:
        log.exception("a process for tasks broke")
        os._exit(1)


class Launcher:
    """The worker's end."""

    def __init__(self, control: socket.socket, pid: int, role: str) -> None:
        """`pid`: of the process that makes children; `role`: of another one in its place."""
        self._control = control
        self._pid = pid
        self._role = role
        self._restarted = -RESTART_S
        self._next = 0
        self._unread = b""
        self._lock = threading.Lock()
        forked.own(self)

    def descriptors(self) -> list[int]:
        """What is kept from processes that handlers fork."""
        return [self._control.fileno()]

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._control.fileno()

    def launch(self) -> tuple[int, socket.socket]:
        """Ask for a child: its number, and the worker's end of its socket pair."""
        ours, theirs = socket.socketpair()
        self._next += 1
        with theirs:
            self._say(f"make {self._next}", theirs.fileno())
        return self._next, ours

    def signal(self, number: int, what: int) -> None:
        """Send a signal to a child; SIGKILL goes to what it has started too."""
        self._say(f"signal {number} {int(what)}")

    def _say(self, line: str, *descriptors: int) -> None:
        with self._lock, contextlib.suppress(OSError):  # that it has ended is read
            socket.send_fds(self._control, [line.encode() + b"\n"], descriptors)

    def news(self) -> Sequence[tuple[int, int, int]]:
        """What there is to tell of children, as `engine.processes.Launcher` has it."""
        received = b""
        with contextlib.suppress(ConnectionResetError):  # it has died with words of ours unread
            received = self._control.recv(65536)
        if not received:
            raise EOFError
        *lines, self._unread = (self._unread + received).split(b"\n")
        return [_three(line) for line in lines]

    def restart(self) -> None:
        """Start another process in place of the one that has ended.

        Raises:
            Interfered: that was one in place of another already, or there can be none.
        """
        ended = f"the process that starts those of tasks has ended{self._await_end()}"
        now = time.monotonic()
        if now - self._restarted < RESTART_S:
            raise Interfered(f"{ended} again")
        self._restarted = now
        try:
            ours, theirs = socket.socketpair()
            with self._lock, theirs:
                self._pid = _program(self._role, theirs)
                self._control.close()
                self._control, self._unread = ours, b""
        except OSError as fault:
            raise Interfered(f"{ended}, and there is no other ({fault.strerror})") from None
        log.error("%s; another one is started, and what ran goes back to the queue", ended)

    def close(self) -> None:
        """End all that is left of the children."""
        self._control.close()
        self._await_end()

    def _await_end(self) -> str:
        """Wait for the end of the process; how it ended, where that is known."""
        until = time.monotonic() + 2 * END_S
        with contextlib.suppress(ChildProcessError):  # a handler has waited for it
            while not (ended := os.waitpid(self._pid, os.WNOHANG))[0]:
                time.sleep(0.005)
                if time.monotonic() > until:
                    _send_signal(self._pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(ended[1])
            return f" by {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"
        return ""


def _three(line: bytes) -> tuple[int, int, int]:
    number, pid, status = line.split()
    return int(number), int(pid), int(status)


class _Template:
    """The process itself. It takes no signal: it ends when its worker has."""

    def __init__(self, control: socket.socket, make: Make) -> None:
        self._control = control
        self._make = make
        self._children: dict[int, int] = {}  # pid -> number
        self._pids: dict[int, int] = {}

    def serve(self) -> NoReturn:
        """Do what the worker says, until it has ended."""
        try:
            os.setsid()
            _prctl(PR_SET_CHILD_SUBREAPER, 1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, early.ENDING)
            ended, wake = os.pipe()
            os.set_blocking(ended, False)
            os.set_blocking(wake, False)
            signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
            signal.signal(signal.SIGCHLD, lambda *_: None)
            try:
                self._obey_until_the_end(ended)
            finally:
                self._end_all()
        except BaseException:
            log.exception("the process that makes those of tasks broke")
        os._exit(0)

    def _obey_until_the_end(self, ended: int) -> None:
        unread = b""
        links: list[int] = []
        while True:
            for one in select.select([self._control.fileno(), ended], [], [])[0]:
                if one == ended:
                    os.read(ended, 4096)
                    self._reap()
                    continue
                try:
                    received, descriptors, _, _ = socket.recv_fds(self._control, 65536, 64)
                except OSError:
                    return
                if not received:
                    return
                links += descriptors
                *lines, unread = (unread + received).split(b"\n")
                for line in lines:
                    self._obey(line.decode().split(), links)

    def _obey(self, words: list[str], links: list[int]) -> None:
        number = int(words[1])
        if words[0] == "make":
            with socket.socket(fileno=links.pop(0)) as link:
                try:
                    pid = self._make(link)
                except OSError as fault:  # too many processes, too little memory
                    self._say(number, fault.errno or 0, NOT_MADE)
                    return
            self._children[pid], self._pids[number] = number, pid
            self._say(number, pid, BEGUN)
        elif number in self._pids:
            what = int(words[2])
            _send_signal(self._pids[number], what)
            if what == signal.SIGKILL:
                _send_signal(-self._pids[number], what)

    def _say(self, *numbers: int) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(b"%d %d %d\n" % numbers)

    def _reap(self) -> None:
        """Take all that have ended: children, and what children left to us."""
        with contextlib.suppress(ChildProcessError):
            while info := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if info.si_pid in self._children:
                    _send_signal(-info.si_pid, signal.SIGKILL)  # while nobody can get its number
                status = os.waitpid(info.si_pid, 0)[1]
                number = self._children.pop(info.si_pid, None)
                if number is not None:
                    del self._pids[number]
                    self._say(number, info.si_pid, status)

    def _end_all(self) -> None:
        for pid in self._children:
            _send_signal(pid, signal.SIGKILL)
            _send_signal(-pid, signal.SIGKILL)
        until = time.monotonic() + END_S
        while (left := _children()) and time.monotonic() < until:
            for pid in left:
                _send_signal(pid, signal.SIGKILL)
            self._reap()
            time.sleep(0.01)


def _children() -> list[int]:
    """The processes that are ours, also those whose parents have ended."""
    try:
        with open(f"/proc/self/task/{threading.get_native_id()}/children", "rb") as children:
            return [int(pid) for pid in children.read().split()]
    except OSError:
        return []


def _send_signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
