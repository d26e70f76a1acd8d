"""The status page: what `worker status` tells, live in a browser, and actions for who may."""

from worker.page.history import History, Sample
from worker.page.routes import StatusPage

__all__ = ["History", "Sample", "StatusPage"]
