"""How a handler's function is called, and whether it can be: judged before the first task."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

DATA = "data"
TASK = "the whole task"
TYPE_AND_DATA = "type, data"
TASKS = "a list of tasks"

_STARS: dict[object, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}
_WANTED = {DATA: "the task's data", TASKS: "a list of tasks, since it has batch"}
_LONGEST_CHAIN = 100  # of functions that wrap each other


def core(function: Any) -> Any:
    """The function inside partials, static and class methods, and bound methods."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, (staticmethod, classmethod)) or inspect.ismethod(function):
            function = function.__func__
        else:
            return function


def _codes(function: Any) -> tuple[Any, Any]:
    """What may hold the code that runs: the function itself, or its type's `__call__`."""
    inner = core(function)
    return inner, getattr(type(inner), "__call__", None)  # noqa: B004 - of its class


def is_async(function: Any) -> bool:
    """Whether calling it makes a coroutine."""
    return any(inspect.iscoroutinefunction(one) for one in _codes(function))


def yields(function: Any) -> bool:
    """Whether calling it makes a generator, of which nothing would run."""
    return any(
        inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one)
        for one in _codes(function)
    )


def names_of(function: Any) -> tuple[str, str]:
    """Its module, and its name with the module; of an object that is called, those of its class."""
    inner = core(function)
    named = inner if isinstance(getattr(inner, "__qualname__", None), str) else type(inner)
    name = f"{named.__module__}.{named.__qualname__}"
    return str(named.__module__), name if callable(inner) else f"an object of {name}"


def place_of(function: Any) -> str | None:
    """The file and line of its code, decorators aside; None where it has none in Python."""
    for one in _codes(_innermost(core(function))):
        code = getattr(one, "__code__", None)
        if code is not None:
            return f"{code.co_filename}:{code.co_firstlineno}"
    return None


def place_in(module: ModuleType, name: str) -> str:
    """The file, and the line where that is known, at which a module binds a name."""
    try:
        statements = ast.parse(inspect.getsource(module)).body
    except (OSError, TypeError, SyntaxError):
        return str(getattr(module, "__file__", module.__name__))
    lines = [one.lineno for one in statements if name in _names_bound_by(one)]
    return f"{module.__file__}{f':{lines[-1]}' if lines else ''}"


def _names_bound_by(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {one.asname or one.name for one in statement.names}
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def what_stands_for(function: Any) -> Any:
    """What is called for a decorated function: what its class or module has under its name.

    So the decorators above @handler count, and @staticmethod and @classmethod among them.
    """
    method = isinstance(function, staticmethod | classmethod)
    inner = function.__func__ if method else function
    holder, value = _standing(inner) if inspect.isfunction(inner) else (None, None)
    if holder is None or not any(one is inner for one in _chain(value)):
        return inner if isinstance(function, staticmethod) else function
    if isinstance(value, staticmethod | classmethod) and isinstance(holder, type):
        return value.__get__(None, holder)
    return value


def _standing(function: Any) -> tuple[Any, Any]:
    """The module or class that a function was defined in, and what it has under its name."""
    names = getattr(function, "__qualname__", None)
    holder: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    if holder is None or not isinstance(names, str):
        return None, None
    *classes, name = names.split(".")
    for part in classes:
        holder = vars(holder).get(part)
        if not isinstance(holder, type):  # "<locals>" leads nowhere
            return None, None
    return holder, vars(holder).get(name)


def _chain(value: Any) -> Iterator[Any]:
    """It, and what it was made of with functools.wraps, one after the other."""
    for _ in range(_LONGEST_CHAIN):
        yield value
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        elif "__wrapped__" in getattr(value, "__dict__", ()):
            value = value.__dict__["__wrapped__"]
        else:
            return


def _innermost(function: Any) -> Any:
    return list(_chain(function))[-1]


def takes_of(function: Any, *, every_type: bool) -> str:
    """What it is called with; of a function for every type its parameters say it."""
    if not every_type:
        return DATA
    signature = _signature(function)
    one, two = _accepts(signature, 1), _accepts(signature, 2)
    if one and two:  # as *args do: then the function inside says it
        two = _required(_signature(_innermost(function))) == 2
        one = not two
    return TYPE_AND_DATA if two and not one else TASK


def _signature(function: Any) -> inspect.Signature | None:
    """Its own, not that of what it wraps; None when it is written in C and says nothing of it."""
    try:
        return inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _accepts(signature: inspect.Signature | None, count: int) -> bool:
    if signature is None:
        return count == 1
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _required(signature: inspect.Signature | None) -> int:
    if signature is None:
        return 1
    parameters = signature.parameters.values()
    return sum(p.default is p.empty and p.kind not in _STARS for p in parameters)


def fault_of(function: Any, takes: str) -> str | None:
    """Why it cannot be called with what it takes, in words; None when it can."""
    if isinstance(core(function), type):
        return "is a class; name a function, or an object that can be called"
    if isinstance(function, classmethod):
        return "is a class method of a class that cannot be found; decorate Class.name instead"
    if not callable(function):
        return "cannot be called"
    if yields(function):
        return "must not yield: none of it would run"
    if _needs_object(function):
        return "is a method that needs an object; make it a static method, or decorate object.name"
    signature = _signature(function)
    if signature is None or _accepts(signature, 2 if takes == TYPE_AND_DATA else 1):
        return _no_list(function, signature) if takes == TASKS else None
    wanted = _WANTED.get(takes, "the whole task, or two, type and data")
    return f"must take one argument, {wanted}; it takes ({_parameters(signature)})"


def _no_list(function: Any, signature: inspect.Signature | None) -> str | None:
    """Why a function with batch does not take a list, where its annotation says so."""
    names = list(signature.parameters) if signature is not None else []
    try:
        hint = typing.get_type_hints(core(function)).get(names[0])
        kind = typing.get_origin(hint) or hint
        if not isinstance(kind, type) or issubclass(list, kind):
            return None
    except Exception:  # an annotation that cannot be evaluated, or says nothing of a class
        return None
    shown = inspect.formatannotation(hint)
    return f"must take a list of tasks, since it has batch; it takes ({names[0]}: {shown})"


def _needs_object(function: Any) -> bool:
    """Whether it is a plain function in a class whose first parameter says that it is a method."""
    if not inspect.isfunction(function):
        return False
    in_class = function.__qualname__.split(".")[-2:-1] not in ([], ["<locals>"])
    if not function.__code__.co_argcount:  # only *args: what it wraps says it
        function = _innermost(function)
    code = getattr(function, "__code__", None)
    first = code.co_varnames[: code.co_argcount][:1] if code is not None else ()
    return in_class and first in (("self",), ("cls",))


def _parameters(signature: inspect.Signature) -> str:
    texts, named_only = [], False
    for one in signature.parameters.values():
        named_only = named_only or one.kind is one.VAR_POSITIONAL
        if one.kind is one.KEYWORD_ONLY and not named_only:
            named_only = True
            texts.append("*")
        default = "" if one.default is one.empty else "=..."
        texts.append(f"{_STARS.get(one.kind, '')}{one.name}{default}")
    return ", ".join(texts) if len(texts) <= 20 else f"{len(texts)} parameters"
