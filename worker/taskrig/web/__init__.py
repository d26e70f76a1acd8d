"""The status page: what `worker status` tells, live in a browser, and actions for who may."""

from taskrig.web.history import History, Sample
from taskrig.web.routes import StatusPage

__all__ = ["History", "Sample", "StatusPage"]
