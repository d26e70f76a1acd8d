"""Taskrig for Django: `INSTALLED_APPS += ["taskrig.contrib.django"]`, settings in `TASKRIG`.

from taskrig.contrib.django import enqueue

enqueue("email", {"to": user.email, "subject": "Welcome"})  # sent when the transaction commits
"""

from taskrig.contrib.django.producing import enqueue, queue

__all__ = ["TaskrigBackend", "enqueue", "queue"]


def __getattr__(name: str) -> object:
    if name == "TaskrigBackend":  # only from Django 6.0 on
        from taskrig.contrib.django.backend import TaskrigBackend

        return TaskrigBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
