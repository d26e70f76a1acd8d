"""The Django app: there for its management commands, and to say when another app's go before."""

from __future__ import annotations

import sys
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.management import get_commands

from taskrig.contrib.django.own_tasks import with_own_tasks
from taskrig.runtime import early

COMMAND = "async_command"
_asked_for = sys.argv[1:2] == [COMMAND]

if _asked_for:
    # Django is still reading the apps that come after this one, and may take seconds.
    early.end_at_once(0, COMMAND)


class TaskrigConfig(AppConfig):
    """`taskrig.contrib.django` in INSTALLED_APPS."""

    name = "taskrig.contrib.django"
    label = "taskrig"
    verbose_name = "Taskrig"

    def ready(self) -> None:
        """Leave the signals to the command of another app, where that is the one that runs."""
        checks.register(_others_command)
        if with_own_tasks(()):
            import django.tasks  # noqa: F401 - it registers the checks of its backends
        if _asked_for and _owner() != self.name:
            early.give_back()


def _owner() -> Any:
    """The name of the app whose command it is: of several the first in INSTALLED_APPS."""
    return get_commands().get(COMMAND)


def _others_command(app_configs: Any, **options: Any) -> list[checks.CheckMessage]:
    if _owner() == TaskrigConfig.name:
        return []
    return [
        checks.Warning(
            f"manage.py {COMMAND} is the command of {_owner()!r}, and not Taskrig's worker.",
            hint=f"Put {TaskrigConfig.name!r} before {_owner()!r} in INSTALLED_APPS.",
            id="taskrig.W001",
        )
    ]
