"""Taskrig's worker: the names that a handler's author needs."""

from worker.errors import Reject
from worker.registry import handler

__version__ = "0.1.0"

__all__ = ["Reject", "__version__", "handler"]
