"""Where an exception came from, as text: the frames that it came through, and its causes.

For logs and dead letters: bounded, of the user's own frames, without the values of anything, and
whatever the exception does when it is looked at. The standard library's `traceback` is not used: it
asks objects for names that might have been meant, takes any number of frames, and costs ten times
as much, on the event loop.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from types import CodeType, TracebackType
from typing import Any, NamedTuple

from taskrig.errors import describe
from taskrig.texts import cut, printable

MAX_TRACE_BYTES = 4000
FIRST_FRAMES, LAST_FRAMES = 5, 15  # of each exception
CHAINED = 5  # exceptions of one chain of causes
OF_A_GROUP, GROUPS_DEEP = 5, 3
LINE_CHARS = 200

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep  # the package's folder
_NOT_OURS = _OURS + "handlers" + os.sep  # handlers of ours are told of like the user's
_STDLIB = os.path.dirname(os.__file__) + os.sep
_IMPORTING = ("<frozen ", _STDLIB + "importlib" + os.sep)
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"

Frame = tuple[CodeType, int, dict[str, Any]]  # the code, the line, the module's names


class Trace(NamedTuple):
    """`text`: a traceback in lines, "" when no frame of the user's is in it. `key`: what makes it
    the same error as another one: the exception's name, and where it was raised."""

    text: str
    key: tuple[str, str, int]


_visible = partial(printable, keep="\t")  # the code of a line may be indented by tabs


def _name(fault: BaseException) -> str:
    name: str = type.__dict__["__name__"].__get__(type(fault))  # its metaclass may say otherwise
    return cut(_visible(name), 100)


def trace(fault: BaseException) -> Trace:
    """Where an exception came from, with its causes. Never raises."""
    name, file, line, text = "", "", 0, ""
    try:
        name = _name(fault)
        for frame in _frames(fault):
            file, line = frame[0].co_filename, frame[1]
        text = _last("\n".join(_chain(fault)))
    except BaseException:  # no memory, no room on the stack, or an odd attribute
        pass
    return Trace(text if '  File "' in text else "", (name, file, line))


def stands(thread: threading.Thread) -> Trace:
    """Where a thread that runs a handler is at this moment."""
    frame = sys._current_frames().get(thread.ident or 0)
    frames: list[Frame] = []
    while frame is not None and not _is_ours(frame.f_code):
        frames.append((frame.f_code, frame.f_lineno, frame.f_globals))
        frame = frame.f_back
    if not frames:
        return Trace("", ("", "", 0))
    lines = ["Its thread stood here (most recent call last):", *_shown(frames[::-1])]
    return Trace(_last("\n".join(lines)), ("", frames[0][0].co_filename, frames[0][1]))


def at_place(fault: BaseException) -> str:
    """ " (file:line)" of the user's code that led to it; "" where there is none.

    That is the innermost frame that is not in a library; of code that does not parse, the code.
    """
    if isinstance(fault, SyntaxError) and fault.filename:
        return _visible(f" ({fault.filename}:{fault.lineno})")
    places = [(frame[0].co_filename, frame[1]) for frame in _frames(fault)]
    places = [(file, line) for file, line in places if not file.startswith(_IMPORTING)]
    own = [one for one in places if not _is_librarys(one[0])] or places
    return _visible(" ({}:{})".format(*own[-1])) if own else ""


def _is_librarys(file: str) -> bool:
    generated = file == "<string>"  # such as the constructor of a dataclass
    return (
        generated
        or file.startswith(_STDLIB)
        or "/site-packages/" in file
        or "/dist-packages/" in file
    )


def _is_ours(code: CodeType) -> bool:
    name = code.co_filename
    return name.startswith(_OURS) and not name.startswith(_NOT_OURS)


def _frames(fault: BaseException) -> Iterator[Frame]:
    at: TracebackType | None = _raw(fault, "__traceback__")
    while at is not None:
        code = at.tb_frame.f_code
        if not _is_ours(code):
            yield code, at.tb_lineno, at.tb_frame.f_globals
        at = at.tb_next


def _raw(fault: BaseException, name: str) -> Any:
    """What Python itself keeps under this name, whatever the exception's class says."""
    return BaseException.__dict__[name].__get__(fault)


def _chain(fault: BaseException, deep: int = 0) -> Iterator[str]:
    """The lines of an exception after those of its causes, as Python has them."""
    chain = [(fault, "")]
    while len(chain) < CHAINED:
        before, link = _before(chain[-1][0])
        if before is None or any(before is one for one, _ in chain):
            break
        chain.append((before, link))
    for index in range(len(chain) - 1, -1, -1):
        one, _ = chain[index]
        frames = list(_frames(one))
        if frames:
            yield "Traceback (most recent call last):"
            yield from _shown(frames)
        yield from _told(one, deep)
        if index:
            yield from ("", chain[index][1], "")


def _before(fault: BaseException) -> tuple[BaseException | None, str]:
    cause = _raw(fault, "__cause__")
    if cause is not None or _raw(fault, "__suppress_context__"):
        return cause, _CAUSE
    return _raw(fault, "__context__"), _CONTEXT


def _shown(frames: list[Frame]) -> Iterator[str]:
    """Two lines a frame; one that comes again and again is counted, the middle of many left out."""
    runs = [
        (frame, times)
        for _, same in groupby(frames, key=lambda frame: frame[:2])
        for frame, times in [_counted(same)]
    ]
    left_out = len(runs) - FIRST_FRAMES - LAST_FRAMES
    for index, ((code, line, names), times) in enumerate(runs):
        if index >= FIRST_FRAMES and index < FIRST_FRAMES + left_out:
            if index == FIRST_FRAMES:
                yield f"  ... {left_out} calls are left out ..."
            continue
        yield _visible(f'  File "{code.co_filename}", line {line}, in {code.co_name}')
        source = linecache.getline(code.co_filename, line, names).strip()
        if source:
            yield "    " + cut(_visible(source), LINE_CHARS)
        if times > 1:
            yield f"  ... {times - 1} more calls like the one above ..."


def _counted(same: Iterator[Frame]) -> tuple[Frame, int]:
    first, times = next(same), 1
    for _ in same:
        times += 1
    return first, times


def _told(fault: BaseException, deep: int) -> Iterator[str]:
    """The exception itself: its line, what a SyntaxError points at, notes, and those of a group."""
    if isinstance(fault, SyntaxError) and fault.filename:
        yield _visible(f'  File "{fault.filename}", line {fault.lineno}')
        if isinstance(fault.text, str) and fault.text.strip():
            yield "    " + cut(_visible(fault.text.strip()), LINE_CHARS)
    yield describe(fault)
    notes = BaseException.__getattribute__(fault, "__dict__").get("__notes__")
    for note in notes[:OF_A_GROUP] if isinstance(notes, list) else ():
        if isinstance(note, str):
            yield from (cut(_visible(line), LINE_CHARS) for line in note.split("\n")[:10])
    if isinstance(fault, BaseExceptionGroup) and deep < GROUPS_DEEP:
        group = BaseExceptionGroup.__dict__["exceptions"].__get__(fault)
        for number, one in enumerate(group[:OF_A_GROUP], 1):
            yield f"  +- {number} of {len(group)}"
            yield from ("  | " + line for line in _chain(one, deep + 1))


def _last(text: str) -> str:
    """The last lines of it that fit."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= MAX_TRACE_BYTES:
        return raw.decode()
    kept = raw[-MAX_TRACE_BYTES + 4 :].partition(b"\n")[2]
    return "...\n" + kept.decode()
