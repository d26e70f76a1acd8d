"""The Django app: only there for its management commands."""

from __future__ import annotations

from django.apps import AppConfig


class TaskrigConfig(AppConfig):
    """`worker.contrib.django` in INSTALLED_APPS."""

    name = "worker.contrib.django"
    label = "taskrig"
    verbose_name = "Taskrig"
