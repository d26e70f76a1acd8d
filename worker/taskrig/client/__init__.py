"""The client for Python: `from taskrig import Queue`."""

from taskrig.client.queue import Queue

__all__ = ["Queue"]
