"""Taskrig's worker: the names that a handler's author needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.context import Context, context
from worker.errors import Reject, Retry
from worker.extras import Middleware, Resource, middleware, resource
from worker.registry import handler

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    if name == "Task":  # imported when asked for: a health check needs no decoder
        from worker.task import Task

        return Task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
