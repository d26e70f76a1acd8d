"""The Django app: only there for its management commands."""

from __future__ import annotations

import sys

from django.apps import AppConfig

from worker import early

if sys.argv[1:2] == ["async_command"]:
    # Django is still reading the apps that come after this one, and may take seconds.
    early.end_at_once(0, "async_command")


class TaskrigConfig(AppConfig):
    """`worker.contrib.django` in INSTALLED_APPS."""

    name = "worker.contrib.django"
    label = "taskrig"
    verbose_name = "Taskrig"
