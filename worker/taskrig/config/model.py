"""The whole of config.yaml, as it holds after all layers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from taskrig.config import checks
from taskrig.config.handler_sections import EmailConfig, FilesConfig
from taskrig.config.readings import wrong
from taskrig.config.sections import (
    DeadLettersConfig,
    HttpConfig,
    LogConfig,
    QueueConfig,
    RedisConfig,
    Section,
    TaskConfig,
    WorkerConfig,
)
from taskrig.config.texts import Several, Words
from taskrig.keys import shares_slot


def _or_empty(raw: Any) -> Any:
    return {} if raw is None else raw


class Config(Section):
    """Everything that config.yaml can say, as it holds after all layers."""

    redis: RedisConfig = RedisConfig()
    queue: QueueConfig = QueueConfig()
    worker: WorkerConfig = WorkerConfig()
    handlers: Annotated[tuple[str, ...], Several(checks.handler, least=1)] = ("taskrig.handlers",)
    """Packages or modules with handlers, or one `package.module:function`, given the whole task."""
    tasks: Annotated[
        Mapping[Annotated[str, Words(checks.task_type)], TaskConfig], BeforeValidator(_or_empty)
    ] = Field(default_factory=dict)
    schedule: Annotated[tuple[str, ...], Several(checks.schedule, name=checks.schedule_name)] = ()
    """Lines of NAME, five cron fields, a time zone (UTC without one) and a task as JSON."""
    dead_letters: DeadLettersConfig = DeadLettersConfig()
    email: EmailConfig = EmailConfig()
    files: FilesConfig = FilesConfig()
    http: HttpConfig = HttpConfig()
    log: LogConfig = LogConfig()

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _source: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _lists_share_a_slot(self) -> Self:
        queue = self.queue
        for name in queue.sources if self.redis.cluster else ():
            if not shares_slot(name, queue.key):
                raise wrong(
                    f"queue.lists names {name}, which would not share the Cluster slot of "
                    f"queue.key {queue.key}; give both the same hash tag, as in urgent{{jobs}}"
                )
        return self

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each setting came from, by dotted key."""
        return self._origins

    @property
    def source(self) -> Path | None:
        """The config file that was read, None when the defaults serve."""
        return self._source

    @property
    def folder(self) -> Path:
        """Where handlers of your own are looked for: the config file's folder, else the current."""
        return self._source.resolve().parent if self._source else Path.cwd()

    def with_origins(self, origins: Mapping[str, str], source: Path | None) -> Config:
        """The same settings, knowing where they came from."""
        copy = self.model_copy()
        copy._origins, copy._source = dict(origins), source
        return copy

    def hash(self) -> str:
        """Twelve hex digits that change with any setting but a secret one."""
        plain = self.model_dump(
            by_alias=True,
            exclude={"redis": {"password", "sentinel_password", "url"}, "email": {"password"}},
        )
        plain["redis"]["url"] = self.redis.masked_url()
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
