"""The client for Python: `from taskrig import Queue`."""

from taskrig.client.queue import Queue
from taskrig.client.results import TaskResult

__all__ = ["Queue", "TaskResult"]
