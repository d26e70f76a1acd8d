"""Taskrig for Django: `INSTALLED_APPS += ["taskrig.contrib.django"]`, settings in `TASKRIG`.

from taskrig.contrib.django import enqueue

enqueue("email", {"to": user.email, "subject": "Welcome"})  # sent when the transaction commits
"""

from taskrig.contrib.django.producing import enqueue, queue

__all__ = ["enqueue", "queue"]
