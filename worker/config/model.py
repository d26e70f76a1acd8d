"""config.yaml as typed, frozen models. A key in YAML is the field's name without its `_s`.

To add a setting: a field here, its line in config.yaml and in docs/configuration.md; tests hold
the three together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)

from worker.config import checks
from worker.config.readings import (
    Choice,
    OrNone,
    Seconds,
    Secret,
    Several,
    Size,
    Whole,
    Words,
    YesNo,
    wrong,
)
from worker.config.redis_url import database, masked

Level = Literal["debug", "info", "warning", "error"]
Flag = Annotated[bool, YesNo()]
FileName = Annotated[str | None, OrNone(Words())]
SecretText = Annotated[SecretStr | None, OrNone(Secret())]


def yaml_key(name: str) -> str:
    """The key in YAML of a field: its name without the unit."""
    return name.removesuffix("_s")


class Section(BaseModel):
    """Settings that belong together; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=yaml_key,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_section_is_default(cls, raw: Any) -> Any:
        return {} if raw is None else raw


class RedisConfig(Section):
    """How to reach Redis, or Valkey."""

    url: Annotated[str, Words(checks.redis_url)] = Field(
        default="redis://localhost:6379/0", repr=False
    )
    username: Annotated[str | None, OrNone(Words())] = None
    password: SecretText = None
    password_file: FileName = None
    connect_timeout_s: Annotated[float, Seconds(most=3600)] = 5.0
    max_outage_s: Annotated[float, Seconds(most=7 * 86400)] = 300.0
    socket_timeout_s: Annotated[float, Seconds(zero=False, most=3600)] = 5.0
    tls_ca_file: FileName = None
    tls_cert_file: FileName = None
    tls_key_file: FileName = None
    tls_check_hostname: Flag = True
    tls_verify: Flag = True
    sentinels: Annotated[tuple[str, ...], Several(checks.host_port)] = ()
    sentinel_master: Annotated[str | None, OrNone(Words())] = None
    sentinel_password: SecretText = None
    sentinel_password_file: FileName = None
    cluster: Flag = False

    def masked_url(self) -> str:
        """The URL without its password, for logs and messages."""
        return masked(self.url)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        tls = (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        if any(tls) and not self.url.lower().startswith("rediss://") and not self.sentinels:
            raise wrong("tls_ca_file, tls_cert_file and tls_key_file need a rediss:// url")
        if self.tls_key_file and not self.tls_cert_file:
            raise wrong("tls_key_file needs tls_cert_file too")
        if self.sentinels and not self.sentinel_master:
            raise wrong("sentinels need sentinel_master, the name they know the master by")
        if self.sentinel_master and not self.sentinels:
            raise wrong("sentinel_master needs sentinels, a list of host:port")
        if self.cluster and self.sentinels:
            raise wrong("cluster and sentinels exclude each other; keep one")
        if self.cluster and database(self.url) != 0:
            raise wrong("a cluster has only database 0; drop the number from url")
        return self


class QueueConfig(Section):
    """The list that producers push to."""

    key: Annotated[str, Words()] = "async_tasks"
    pop: Annotated[Literal["right", "left"], Choice("right", "left")] = "right"
    max_item_bytes: Annotated[int, Size(least=1, most=512 * 2**20)] = 2**20


class WorkerConfig(Section):
    """How this worker runs tasks."""

    max_concurrent: Annotated[int, Whole(1, 100_000)] = 5
    max_tasks: Annotated[int | None, OrNone(Whole(1))] = None
    interval_s: Annotated[float, Seconds(zero=False, most=3600)] = 1.0
    drain_timeout_s: Annotated[float, Seconds(most=86400)] = 25.0
    lease_s: Annotated[float, Seconds(least=0.5, most=86400)] = 15.0
    max_deliveries: Annotated[int, Whole(1, 1_000_000)] = 3


class TaskConfig(Section):
    """Settings of one task type."""

    timeout_s: Annotated[float | None, OrNone(Seconds(zero=False, most=30 * 86400))] = None


class DeadLettersConfig(Section):
    """How much is kept of what will not run again."""

    max: Annotated[int, Whole(0, 1_000_000_000)] = 10_000
    invalid_max: Annotated[int, Whole(0, 1_000_000_000)] = 1_000
    invalid_max_bytes: Annotated[int, Size(least=0, most=2**40)] = 128 * 2**20


class HttpConfig(Section):
    """Metrics, health and status."""

    enabled: Flag = True
    host: Annotated[str, Words(checks.host)] = "127.0.0.1"
    port: Annotated[int, Whole(0, 65535)] = 9464


class LogConfig(Section):
    """What is logged, and how."""

    level: Annotated[Level, Choice("debug", "info", "warning", "error")] = "info"
    format: Annotated[Literal["text", "json"], Choice("text", "json")] = "text"
    tasks: Annotated[str, Words(checks.task_lines)] = "all"

    @property
    def task_sample(self) -> float:
        """The share of tasks whose ordinary lines are logged, 0.0 to 1.0."""
        if self.tasks.endswith("%"):
            return float(self.tasks[:-1]) / 100
        return 1.0 if self.tasks == "all" else 0.0


def _or_empty(raw: Any) -> Any:
    return {} if raw is None else raw


class Config(Section):
    """Everything that config.yaml can say, as it holds after all layers."""

    redis: RedisConfig = RedisConfig()
    queue: QueueConfig = QueueConfig()
    worker: WorkerConfig = WorkerConfig()
    handlers: Annotated[tuple[str, ...], Several(checks.handler, least=1)] = ("worker.handlers",)
    tasks: Annotated[
        Mapping[Annotated[str, Words(checks.task_type)], TaskConfig], BeforeValidator(_or_empty)
    ] = Field(default_factory=dict)
    dead_letters: DeadLettersConfig = DeadLettersConfig()
    http: HttpConfig = HttpConfig()
    log: LogConfig = LogConfig()

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _source: Path | None = PrivateAttr(default=None)

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
            by_alias=True, exclude={"redis": {"password", "sentinel_password", "url"}}
        )
        plain["redis"]["url"] = self.redis.masked_url()
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
