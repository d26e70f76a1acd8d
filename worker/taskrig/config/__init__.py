"""config.yaml, the environment and flags as one typed, frozen `Config`.

The names below are imported when first asked for: `worker healthcheck` reads two settings
without pydantic, which alone takes longer to import than the check itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskrig.config.handler_sections import EmailConfig, FilesConfig
    from taskrig.config.load import load_config
    from taskrig.config.model import Config
    from taskrig.config.sections import (
        DeadLettersConfig,
        HttpConfig,
        LogConfig,
        QueueConfig,
        RedisConfig,
        TaskConfig,
        WorkerConfig,
    )

__all__ = [
    "Config",
    "DeadLettersConfig",
    "EmailConfig",
    "FilesConfig",
    "HttpConfig",
    "LogConfig",
    "QueueConfig",
    "RedisConfig",
    "TaskConfig",
    "WorkerConfig",
    "load_config",
]


def __getattr__(name: str) -> Any:
    if name == "load_config":
        from taskrig.config.load import load_config

        return load_config
    if name in __all__:
        from taskrig.config import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
