"""What decorators declared, and in which modules they ran.

A declaration belongs to every module whose code stood on the stack when the decorator ran, up to
the module whose top level it was: a factory's own module, and the one that calls the factory at its
top level. So it does not matter what name a function has, or whether it has one.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Entry(NamedTuple):
    value: Any
    run: object  # the module's spec at that time: a module that is imported again has another


_declared: dict[str, list[_Entry]] = {}  # by module


def declare(value: Any, frame: FrameType | None) -> None:
    """Note that the code of `frame` declared `value`."""
    while frame is not None:
        module = _module_of(frame)
        if module is not None:
            entries = _declared.setdefault(module.__name__, [])
            if entries and entries[-1].run is not module.__spec__:
                entries.clear()  # of an earlier import
            if not entries or entries[-1].value is not value:
                entries.append(_Entry(value, module.__spec__))
            if frame.f_code.co_name == "<module>":
                return
        frame = frame.f_back


def _module_of(frame: FrameType) -> ModuleType | None:
    """The module whose code runs here; None for a string that is executed."""
    module = sys.modules.get(frame.f_globals.get("__name__", ""))
    return module if getattr(module, "__dict__", None) is frame.f_globals else None


def declared_in(module: ModuleType) -> Iterator[Any]:
    """What decorators declared when this module ran last, in their order."""
    name, run = getattr(module, "__name__", ""), getattr(module, "__spec__", None)
    return (entry.value for entry in _declared.get(name, ()) if entry.run is run)


def place_of(frame: FrameType | None) -> str:
    """The file and line at the top level of a module or class from which `frame` was reached."""
    while frame is not None and frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # a function's
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "?"


def all_declared(kind: type[T]) -> Iterator[T]:
    """What of a kind the modules that are imported now have declared; some may come twice."""
    for name in list(_declared):
        module = sys.modules.get(name)
        if module is not None:
            yield from (one for one in declared_in(module) if isinstance(one, kind))
