"""Taskrig for Django: `INSTALLED_APPS += ["worker.contrib.django"]`, settings in `TASKRIG`.

from worker.contrib.django import enqueue

enqueue("email", {"to": user.email, "subject": "Welcome"})  # sent when the transaction commits
"""

from worker.contrib.django.producing import enqueue

__all__ = ["enqueue"]
