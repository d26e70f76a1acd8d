"""The worker's configuration from settings.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from taskrig.config.load import load_config
from taskrig.config.sections import Config
from taskrig.errors import UsageError

NAME = "settings.TASKRIG"


def config_of_settings(flags: Mapping[str, Any] | None = None) -> Config:
    """Defaults < the YAML file that TASKRIG["config_file"] names < TASKRIG < environment < flags.

    `TASKRIG` has the sections of config.yaml: {"redis": {"url": ...}, "handlers": [...]}.

    Raises:
        UsageError: with every problem, a line each.
    """
    told = getattr(settings, "TASKRIG", {})
    if not isinstance(told, Mapping):
        raise UsageError(f'{NAME} must be a dict, such as {{"redis": {{"url": "redis://..."}}}}')
    values = dict(told)
    file = values.pop("config_file", None)
    return load_config(
        Path(file) if file is not None else None,
        env=os.environ,
        framework=(NAME, values),
        overrides=flags or {},
    )
