"""Whether TASKS has our backend for Django's own tasks. Imports little: every command asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.conf import settings

BACKEND_OF = "taskrig.contrib.django."
RUNNING = "taskrig.contrib.django.running"


def with_own_tasks(handlers: Sequence[str]) -> tuple[str, ...]:
    """The names of the modules of handlers; with those of Django's own tasks, where TASKS has our
    backend."""
    told = getattr(settings, "TASKS", {})
    backends = [one.get("BACKEND") for one in told.values() if isinstance(one, Mapping)]
    ours = any(str(name).startswith(BACKEND_OF) for name in backends)
    return (*handlers, RUNNING) if ours and RUNNING not in handlers else tuple(handlers)
