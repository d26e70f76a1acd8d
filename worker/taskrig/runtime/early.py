"""Which signals are ours: from the first moment of a program, and never in a child that it forks.

Imports next to nothing, so that it can come before everything else. Until a handler is set, Python
answers SIGINT with a traceback; and to process 1 of a container the kernel delivers no signal that
has no handler.
"""

from __future__ import annotations

import _thread
import os

TYPE_CHECKING = False  # typing itself takes longer to import than all of this
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable
    from types import FrameType

    Action = Callable[[int, FrameType | None], object]
else:
    import _signal as signal  # what is in C of it: its enums take ten times as long

ROLE_ENV = "TASKRIG_ROLE"  # set for processes that are no worker: what they are, as JSON
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TELL = (signal.SIGUSR1,)
_NAMES: dict[int, str] = {
    signal.SIGINT: "SIGINT",
    signal.SIGTERM: "SIGTERM",
    signal.SIGHUP: "SIGHUP",
}

_actions: dict[int, Action] = {}
_found: dict[int, object] = {}  # what stood there before us
_masks: dict[int, Iterable[int]] = {}  # by thread, while it forks
_pid = 0


def take(action: Action, numbers: Iterable[int] = ENDING) -> None:
    """Have `action` called for these signals from now on; the main thread only.

    A SIGHUP that was ignored stays ignored: that is what nohup asks for.
    """
    global _pid
    if not _pid:
        os.register_at_fork(
            before=_hold, after_in_parent=_let_go, after_in_child=_give_back_in_child
        )
    _pid = os.getpid()
    for number in numbers:
        before = signal.getsignal(number)
        if number == signal.SIGHUP and before == signal.SIG_IGN:
            continue
        _actions[number] = action
        if before is not _arrived:
            _found.setdefault(number, before)
            signal.signal(number, _arrived)
    # Whoever started us may have held them back until now, so that none is lost.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _actions)


def take_back() -> list[int]:
    """Take those again that somebody else has taken since; returns their numbers."""
    lost = [number for number in _actions if signal.getsignal(number) is not _arrived]
    for number in lost:
        signal.signal(number, _arrived)
    return lost


def end_at_once(code: int, name: str = "") -> None:
    """Until somebody else takes them, end with `code` when they come: nothing has begun.

    With a `name`, one line says so. A process of a worker that is none itself is started with these
    signals held back, and takes them with its role.
    """
    if ROLE_ENV in os.environ:
        return

    def end(number: int, _frame: FrameType | None) -> None:
        from select import select  # no Python code: another import may be half done

        line = f"{name}: {_NAMES[number]} before the start: nothing was begun\n"
        try:
            if name and select((), (2,), (), 0)[1]:  # else nobody reads it
                os.write(2, line.encode())
        except (OSError, ValueError):
            pass  # it is closed
        os._exit(code)

    take(end)


def interrupt() -> None:
    """From now on each of them is what Ctrl-C is: a KeyboardInterrupt."""
    take(_interrupt, (signal.SIGTERM, signal.SIGHUP))
    if signal.getsignal(signal.SIGINT) is _arrived:  # asyncio looks for Python's own handler
        signal.signal(signal.SIGINT, _found.pop(signal.SIGINT))  # type: ignore[arg-type]
        del _actions[signal.SIGINT]


def give_back() -> None:
    """Set what stood there before, where nobody has set something else since."""
    for number, before in _found.items():
        if signal.getsignal(number) is _arrived:
            signal.signal(number, before)  # type: ignore[arg-type]
    _found.clear()
    _actions.clear()


def _arrived(number: int, frame: FrameType | None) -> None:
    if os.getpid() == _pid:
        _actions[number](number, frame)
    else:  # a child that C code forked, past os.fork
        give_back()
        os.kill(os.getpid(), number)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


# A signal that reaches a child before it has its own handlers would be lost, as Python forgets
# what came before it was ready. So signals wait until then.


def _hold() -> None:
    _masks[_thread.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, _actions)


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop(_thread.get_ident()))


def _give_back_in_child() -> None:
    give_back()
    signal.set_wakeup_fd(-1)
    _let_go()
