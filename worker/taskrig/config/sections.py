"""The sections of config.yaml as typed, frozen models.

A key in YAML is the field's name without its `_s`. To add a setting: a field here with its
meaning below it, and its line in config.yaml and in docs/configuration.md; tests hold the three
together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from taskrig.authoring.options import weighted
from taskrig.config import checks
from taskrig.config.quantities import Seconds, Size, Whole
from taskrig.config.readings import OrNone, YesNo, wrong
from taskrig.config.redis_url import database, masked
from taskrig.config.texts import Choice, Secret, Several, Words
from taskrig.keys import Keys

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
        use_attribute_docstrings=True,  # they are the descriptions in the JSON Schema
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
    """`redis://host:port/db`, `rediss://` for TLS, `unix:///path` (`?db=1`: another database)."""
    username: Annotated[str | None, OrNone(Words())] = None
    """ACL user; goes before the URL's, needs no percent-encoding."""
    password: SecretText = None
    """Goes before the URL's, needs no percent-encoding."""
    password_file: FileName = None
    """A file that holds the password."""
    connect_timeout_s: Annotated[float, Seconds(most=3600)] = 5.0
    """How long to wait for Redis at start before exit code 3."""
    max_outage_s: Annotated[float, Seconds(most=7 * 86400)] = 300.0
    """How long Redis may be away later before the worker drains and exits with 3."""
    socket_timeout_s: Annotated[float, Seconds(zero=False, most=3600)] = 5.0
    """How long one answer may take; time in which a handler holds the loop does not count."""
    tls_ca_file: FileName = None
    """PEM file of a private CA; none takes the system's."""
    tls_cert_file: FileName = None
    """PEM file of a client certificate."""
    tls_key_file: FileName = None
    """PEM file of its key, unless it is in the same file."""
    tls_check_hostname: Flag = True
    """Whether the certificate must be for the URL's host."""
    tls_verify: Flag = True
    """`false` accepts any certificate: for experiments only."""
    sentinels: Annotated[tuple[str, ...], Several(checks.host_port)] = ()
    """Sentinels as `host:port`; the URL then gives only scheme and database."""
    sentinel_master: Annotated[str | None, OrNone(Words())] = None
    """The master's name there; needed with `sentinels`."""
    sentinel_password: SecretText = None
    """The Sentinels' own password."""
    sentinel_password_file: FileName = None
    """A file that holds it."""
    cluster: Flag = False
    """Whether the URL names a node of a Redis Cluster."""

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
    """The list that producers push to."""
    pop: Annotated[Literal["right", "left"], Choice("right", "left")] = "right"
    """The end that tasks are taken from: `right` with LPUSH, `left` with RPUSH."""
    max_item_bytes: Annotated[int, Size(least=1, most=512 * 2**20)] = 2**20
    """A larger item is invalid."""
    lists: Annotated[tuple[str, ...], Several(checks.queue_list)] = ()
    """All lists of the queue, `key` among them: the first goes first, or with `=N` by shares."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The lists that tasks are taken from, in order."""
        return tuple(weighted(text)[0] for text in self.lists) or (self.key,)

    @property
    def told(self) -> str:
        """The queue's key, and its lists where there are several."""
        return f"{self.key} (lists {', '.join(self.lists)})" if self.lists else self.key

    @property
    def weights(self) -> tuple[int, ...]:
        """The weight of each of the lists; empty where their order is strict."""
        return tuple(weight for _, weight in map(weighted, self.lists) if weight)

    @model_validator(mode="after")
    def _lists_fit_together(self) -> Self:
        names, keys = self.sources, Keys.of(self.key or "-")
        twice = [name for name in names if names.count(name) > 1]
        ours = [name for name in names if name.startswith(keys.prefix)]
        if twice:
            raise wrong(f"lists names {twice[0]} twice; keep one")
        if self.key not in names:
            raise wrong(f"lists must name the queue's key, {self.key}, at its place among them")
        if ours:
            raise wrong(f"lists names {ours[0]}, which is a key of the worker's own")
        if len(names) > 16:
            raise wrong("lists has room for 16: each holds a connection of every worker")
        if self.weights and len(self.weights) < len(names):
            raise wrong("lists gives some of them a weight; give each one (urgent=6), or none")
        return self


class WorkerConfig(Section):
    """How this worker runs tasks."""

    max_concurrent: Annotated[int, Whole(1, 100_000)] = 5
    """Tasks that run at once in this process."""
    max_tasks: Annotated[int | None, OrNone(Whole(1))] = None
    """Stop after exactly this many tasks."""
    processes: Annotated[int, Whole(1, 256)] = 1
    """Worker processes under one parent, each with max_concurrent slots."""
    interval_s: Annotated[float, Seconds(zero=False, most=3600)] = 1.0
    """An idle worker looks again after this; a push wakes it at once."""
    drain_timeout_s: Annotated[float, Seconds(most=86400)] = 25.0
    """How long running tasks may go on after SIGTERM before they go back to the queue."""
    schedule_grace_s: Annotated[float, Seconds(most=30 * 86400)] = 60.0
    """A scheduled task whose time was missed is still enqueued within this."""
    lease_s: Annotated[float, Seconds(least=0.5, most=86400)] = 15.0
    """A worker that is silent for this long is dead, and its tasks go to others."""
    max_deliveries: Annotated[int, Whole(1, 1_000_000)] = 3
    """A task whose worker died this often becomes a dead letter."""


class TaskConfig(Section):
    """Settings of one task type."""

    timeout_s: Annotated[float | None, OrNone(Seconds(zero=False, most=30 * 86400))] = None
    """A task of this type that runs longer has failed; goes before the decorator's."""
    retries: Annotated[int | None, OrNone(Whole(0, 1_000_000))] = None
    """How often a failed task is tried again; none unless the decorator says so."""
    backoff_s: Annotated[float | None, OrNone(Seconds(most=30 * 86400))] = None
    """Upper bound of the first wait before a retry (1s); it doubles, the wait is drawn below it."""
    backoff_max_s: Annotated[float | None, OrNone(Seconds(most=30 * 86400))] = None
    """Upper bound of any such wait (5m)."""
    expires_s: Annotated[float | None, OrNone(Seconds(zero=False, most=366 * 86400))] = None
    """A task that has waited longer since `enqueued_at` (or `run_at`) is dead and does not run."""
    concurrency: Annotated[int | None, OrNone(Whole(1, 100_000))] = None
    """How many tasks of this type run at once in one worker."""
    max_concurrent_total: Annotated[int | None, OrNone(Whole(1, 10_000))] = None
    """How many run at once in all workers; the same in each of them."""
    rate_limit: Annotated[str | None, OrNone(Words(checks.rate))] = None
    """How many start in all workers, such as `100/s`, `5/10s` or `600/m`, evenly spaced."""
    unique: Annotated[bool | None, OrNone(YesNo())] = None
    """While one waits or runs, others of the type with its `id` are dead letters."""


class DeadLettersConfig(Section):
    """How much is kept of what will not run again."""

    max: Annotated[int, Whole(0, 1_000_000_000)] = 10_000
    """How many failed and dead tasks are kept; beyond it the oldest are dropped, with a warning."""
    invalid_max: Annotated[int, Whole(0, 1_000_000_000)] = 1_000
    """How many invalid items are kept; beyond it the oldest are dropped, with a warning."""
    invalid_max_bytes: Annotated[int, Size(least=0, most=2**40)] = 128 * 2**20
    """How many bytes of invalid items are kept."""


class HttpConfig(Section):
    """Metrics, health and status."""

    enabled: Flag = True
    """Whether to serve /metrics, /livez, /readyz and /status."""
    host: Annotated[str, Words(checks.host)] = "127.0.0.1"
    """The address to listen on; `0.0.0.0` in a container."""
    port: Annotated[int, Whole(0, 65535)] = 9464
    """0 picks a free one and logs it."""
    page: Flag = True
    """Whether to serve the status page too."""
    token: SecretText = None
    """Who knows it may requeue, drop, cancel and pause on the page; none: it is read-only."""
    token_file: FileName = None
    """A file that holds the token."""
    names: Annotated[tuple[str, ...], Several(checks.host)] = ()
    """Host names under which the page may be asked for, besides this machine's and addresses."""

    @model_validator(mode="after")
    def _token_is_no_word(self) -> Self:
        if self.token is not None and len(self.token.get_secret_value()) < 16:
            raise wrong("token must have at least 16 characters, such as `openssl rand -hex 16`")
        return self


class LogConfig(Section):
    """What is logged, and how."""

    level: Annotated[Level, Choice("debug", "info", "warning", "error")] = "info"
    """The least that is logged."""
    format: Annotated[Literal["text", "json"], Choice("text", "json")] = "text"
    """For people, or for collectors."""
    tasks: Annotated[str, Words(checks.task_lines)] = "all"
    """Which tasks have lines of their own; failures are always among a share."""
    previews: Flag = True
    """Whether the line about an invalid item shows how the item starts."""

    @property
    def task_sample(self) -> float:
        """The share of tasks whose ordinary lines are logged, 0.0 to 1.0."""
        if self.tasks.endswith("%"):
            return float(self.tasks[:-1]) / 100
        return 1.0 if self.tasks == "all" else 0.0
