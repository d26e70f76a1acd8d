"""Names and imports of handler modules; what goes wrong is one line that names the user's code."""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import sys
from typing import Any

from taskrig.errors import UsageError, describe
from taskrig.runtime.shadows import loaded_instead
from taskrig.runtime.tracebacks import at_place


def checked_name(text: str) -> str:
    """`text` itself where it names a module or package with handlers, or a function of a module.

    Raises:
        ValueError: it cannot; the message says what would be right.
    """
    module, colon, function = text.partition(":")
    names = module.split(".") + ([function] if colon else [])
    if all(name.isidentifier() and not keyword.iskeyword(name) for name in names):
        return text
    if "/" in text or text.endswith(".py"):
        raise ValueError("must be a module's name with dots (mypkg.tasks), not the path of a file")
    raise ValueError("must be a module (mypkg.tasks) or one function (mypkg.tasks:async_handle)")


def imported(module: str, name: str) -> Any:
    """The module `module`, which the name `name` of the config leads to.

    Raises:
        UsageError: it does not import; with the file and line of the user's code.
    """
    try:
        found = importlib.import_module(module)
        if hidden := _hidden(module):
            raise UsageError(f"handlers: {name!r}: {hidden}")
        return found
    except (KeyboardInterrupt, UsageError):
        raise
    except BaseException as error:  # also sys.exit() at the top level
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if hidden := _hidden(module):
            hint = hidden
        elif absent and (module == absent or module.startswith(f"{absent}.")):
            own = "; taskrig is the worker's own package" if absent.startswith("taskrig.") else ""
            hint = f"no such module beside the config file or on the import path{own}{_meant(name)}"
        else:
            hint = f"it does not import: {describe(error)}{at_place(error) or _file_of(module)}"
        raise UsageError(f"handlers: {name!r}: {hint}") from error


def _hidden(module: str) -> str:
    """Says that a user's file is not what is in use under its name; "" where it is."""
    instead = loaded_instead(module)
    if instead is None:
        return ""
    return "{} cannot be used: another module has its name ({}); rename it".format(*instead)


def _meant(name: str) -> str:
    """A hint for whoever writes a function as Python's dotted paths go; may be empty."""
    module, _, function = name.rpartition(".")
    meant = callable(getattr(sys.modules.get(module), function, None)) and ":" not in name
    return f"; did you mean {module}:{function}?" if meant else ""


def _file_of(module: str) -> str:
    """Where a module would be read from, in parentheses; "" where that cannot be said."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception:
        return ""
    return f" ({spec.origin})" if spec is not None and spec.origin else ""
