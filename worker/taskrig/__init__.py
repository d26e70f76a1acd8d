"""Taskrig's worker: the names that authors of handlers and producers need.

Each is imported when it is first asked for: the commands take their signals before that.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, which takes a while to import
if TYPE_CHECKING:
    from taskrig.authoring.context import Context, context
    from taskrig.authoring.extras import Middleware, Resource, middleware, resource
    from taskrig.authoring.registry import handler
    from taskrig.client import Queue, TaskResult
    from taskrig.errors import BatchFailed, Reject, Retry
    from taskrig.task import Task

__version__ = "0.1.0"

__all__ = [
    "BatchFailed",
    "Context",
    "Middleware",
    "Queue",
    "Reject",
    "Resource",
    "Retry",
    "Task",
    "TaskResult",
    "__version__",
    "context",
    "handler",
    "middleware",
    "resource",
]

_WHERE = {
    "taskrig.errors": ("BatchFailed", "Reject", "Retry"),
    "taskrig.authoring.extras": ("Middleware", "Resource", "middleware", "resource"),
    "taskrig.authoring.registry": ("handler",),
    "taskrig.authoring.context": ("Context", "context"),
    "taskrig.task": ("Task",),
    "taskrig.client": ("Queue", "TaskResult"),
}


def __getattr__(name: str) -> object:
    for module, names in _WHERE.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
