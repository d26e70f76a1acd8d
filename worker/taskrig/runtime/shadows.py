"""Two modules of one name: which file is in use, and which one it hides."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from types import ModuleType


def loaded_instead(module: str) -> tuple[str, str] | None:
    """(the file on the import path, the file in use) where the import path leads to another file
    than the one that was loaded under the name of this module, or of the package it is in."""
    loaded = sys.modules.get(module) or sys.modules.get(module.partition(".")[0])
    on_path, in_use = _found(module, sys.path), getattr(loaded, "__file__", None)
    return (on_path, in_use) if on_path and in_use and not _same(on_path, in_use) else None


def hiding_file(error: BaseException) -> str:
    """The file that was imported instead of a module of Python or of a library, and of which this
    error is the consequence; "" where it is none."""
    module = error.obj if isinstance(error, AttributeError) else None
    name = error.name if isinstance(error, ImportError) else None
    if isinstance(module, ModuleType):
        name = module.__name__
    top = (name or "").partition(".")[0]
    file: str | None = getattr(sys.modules.get(top), "__file__", None) or _found(top, sys.path)
    if not top or not file:
        return ""
    folder = os.path.dirname(file)
    if os.path.basename(file) == "__init__.py":
        folder = os.path.dirname(folder)
    hidden = _found(top, [one for one in sys.path if not _same(one or os.curdir, folder)])
    return file if hidden and not _same(hidden, file) else ""


def _found(module: str, path: Sequence[str]) -> str | None:
    """The file of a module, were it looked for now."""
    spec = None
    for name in module.split("."):
        try:
            spec = PathFinder.find_spec(name, path)
        except (ImportError, ValueError):
            return None
        path = list(spec.submodule_search_locations or ()) if spec is not None else []
    return spec.origin if spec is not None and spec.has_location else None


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
