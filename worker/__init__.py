"""Taskrig's worker: the names that a handler's author needs.

Each is imported when it is first asked for: the commands take their signals before that.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, which takes a while to import
if TYPE_CHECKING:
    from worker.errors import Reject, Retry
    from worker.extras import Middleware, Resource, middleware, resource
    from worker.registry import handler
    from worker.running import Context, context
    from worker.task import Task

__version__ = "0.1.0"

__all__ = [
    "Context",
    "Middleware",
    "Reject",
    "Resource",
    "Retry",
    "Task",
    "__version__",
    "context",
    "handler",
    "middleware",
    "resource",
]

_WHERE = {
    "worker.errors": ("Reject", "Retry"),
    "worker.extras": ("Middleware", "Resource", "middleware", "resource"),
    "worker.registry": ("handler",),
    "worker.running": ("Context", "context"),
    "worker.task": ("Task",),
}


def __getattr__(name: str) -> object:
    for module, names in _WHERE.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
