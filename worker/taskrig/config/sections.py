"""The sections of config.yaml as typed, frozen models.

To add a setting: a field here with its meaning below it, and its line in config.yaml and in
docs/configuration.md; tests hold the three together. Its key in YAML is its name without `_s`;
a secret's `..._file` and every other `..._file` is read, or looked at, when the config is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from taskrig.authoring.importing import checked_name
from taskrig.authoring.options import MAX_BATCH, rate
from taskrig.config import values
from taskrig.config.redis_url import checked, database, masked
from taskrig.config.values import Bytes, Host, Line, Seconds, Secret, Section, Word, good
from taskrig.cron import parse_line
from taskrig.keys import shares_slot
from taskrig.lists import parted, weighted

DAY = 86400
ONCE = values.ONCE
HandlerName = Annotated[Line, good(checked_name)]


class RedisConfig(Section):
    """How to reach Redis, or Valkey."""

    url: Annotated[Word, good(checked)] = Field(default="redis://localhost:6379/0", repr=False)
    """`redis://host:port/db`, `rediss://` for TLS, `unix:///path` (`?db=1`: another database)."""
    username: Word | None = None
    """ACL user; overrides the URL's, needs no percent-encoding."""
    password: Secret | None = None
    """Overrides the URL's, needs no percent-encoding."""
    password_file: Word | None = None
    """A file that contains the password."""
    connect_timeout_s: Seconds = Field(default=5.0, ge=0, le=3600)
    """How long to wait for Redis at start before exit code 3."""
    max_outage_s: Seconds = Field(default=300.0, ge=0, le=7 * DAY)
    """After the start: how long Redis may be away before the worker drains and exits with 3."""
    socket_timeout_s: Seconds = Field(default=5.0, gt=0, le=3600)
    """How long one answer may take, without the time in which a handler blocks the loop."""
    tls_ca_file: Word | None = None
    """PEM file of a private CA; none: the system's CAs."""
    tls_cert_file: Word | None = None
    """PEM file of a client certificate."""
    tls_key_file: Word | None = None
    """PEM file of the certificate's key, unless it is in the same file."""
    tls_check_hostname: bool = True
    """Whether the certificate must be for the URL's host."""
    tls_verify: bool = True
    """`false` accepts any certificate: for experiments only."""
    sentinels: Annotated[tuple[Annotated[Line, values.HOST_PORT], ...], ONCE] = ()
    """Sentinels as `host:port`; the URL then gives only the scheme and the database."""
    sentinel_master: Word | None = None
    """The master's name at the Sentinels; needed with `sentinels`."""
    sentinel_password: Secret | None = None
    """The Sentinels' own password."""
    sentinel_password_file: Word | None = None
    """A file that contains the Sentinels' password."""
    cluster: bool = False
    """Whether the URL names a node of a Redis Cluster."""

    def masked_url(self) -> str:
        """The URL without its password, for logs and messages."""
        return masked(self.url)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        tls = (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        if any(tls) and not self.url.lower().startswith("rediss://") and not self.sentinels:
            raise ValueError("tls_ca_file, tls_cert_file and tls_key_file need a rediss:// url")
        if self.tls_key_file and not self.tls_cert_file:
            raise ValueError("tls_key_file needs tls_cert_file too")
        if self.sentinels and not self.sentinel_master:
            raise ValueError("sentinels need sentinel_master, the name they know the master by")
        if self.sentinel_master and not self.sentinels:
            raise ValueError("sentinel_master needs sentinels, a list of host:port")
        if self.cluster and self.sentinels:
            raise ValueError("cluster and sentinels exclude each other; keep one")
        if self.cluster and database(self.url) != 0:
            raise ValueError("a cluster has only database 0; drop the number from url")
        return self


class QueueConfig(Section):
    """The list that producers push to."""

    key: Word = "async_tasks"
    """The list that producers push to."""
    pop: Literal["right", "left"] = "right"
    """The end that tasks are taken from: `right` with LPUSH, `left` with RPUSH."""
    max_item_bytes: Bytes = Field(default=2**20, ge=1, le=512 * 2**20)
    """A larger item is invalid."""
    lists: tuple[Annotated[Line, good(weighted)], ...] = ()
    """All lists of the queue, including `key`: the first goes first, or with `=N` by shares."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The lists that tasks are taken from, in order."""
        return parted(self.lists, self.key)[0]

    @property
    def weights(self) -> tuple[int, ...]:
        """The weight of each of the lists; empty where their order is strict."""
        return parted(self.lists, self.key)[1]

    @property
    def told(self) -> str:
        """The queue's key, and its lists where there are several."""
        return f"{self.key} (lists {', '.join(self.lists)})" if self.lists else self.key

    @model_validator(mode="after")
    def _lists_fit_together(self) -> Self:
        parted(self.lists, self.key)
        return self


class WorkerConfig(Section):
    """How this worker runs tasks."""

    max_concurrent: int = Field(default=5, ge=1, le=100_000)
    """The number of slots: how many tasks run concurrently in this process."""
    max_tasks: Annotated[int, Field(ge=1)] | None = None
    """Stop after exactly this number of tasks."""
    processes: int = Field(default=1, ge=1, le=256)
    """Worker processes under one parent, each with max_concurrent slots."""
    process_slots: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many tasks with `run_in: process` run concurrently; none: the number of cores."""
    interval_s: Seconds = Field(default=1.0, gt=0, le=3600)
    """How often an idle worker re-checks the list; a new task wakes it immediately anyway."""
    drain_timeout_s: Seconds = Field(default=25.0, ge=0, le=DAY)
    """How long running tasks get to finish after SIGTERM before they return to the queue."""
    schedule_grace_s: Seconds = Field(default=60.0, ge=0, le=30 * DAY)
    """How late a scheduled task is still enqueued if no worker was running at its time."""
    lease_s: Seconds = Field(default=15.0, ge=0.5, le=DAY)
    """A worker that does not renew its lease for this long loses its tasks to other workers."""
    max_deliveries: int = Field(default=3, ge=1, le=1_000_000)
    """A task becomes a dead letter when its worker has died this number of times."""


class TaskConfig(Section):
    """Settings of one task type."""

    timeout_s: Annotated[Seconds, Field(gt=0, le=30 * DAY)] | None = None
    """A task of this type that runs longer fails; overrides the decorator's."""
    retries: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """How often a failed task is retried; none: the decorator's value, or 0."""
    backoff_s: Annotated[Seconds, Field(ge=0, le=30 * DAY)] | None = None
    """Upper bound of the first random wait before a retry (1s); it doubles at each retry."""
    backoff_max_s: Annotated[Seconds, Field(ge=0, le=30 * DAY)] | None = None
    """Upper bound of every wait before a retry (5m)."""
    expires_s: Annotated[Seconds, Field(gt=0, le=366 * DAY)] | None = None
    """A task older than this (since `enqueued_at` or `run_at`) becomes a dead letter."""
    concurrency: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """How many tasks of this type run concurrently in one worker."""
    max_concurrent_total: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many run concurrently in all workers; give every worker the same value."""
    rate_limit: Annotated[Word, good(rate)] | None = None
    """How many start in all workers, such as `100/s`, `5/10s` or `600/m`, evenly spaced."""
    unique: bool | None = None
    """A task whose `id` is already queued or running becomes a dead letter."""
    run_in: Literal["thread", "process"] | None = None
    """Where the handler runs; none: coroutines in the event loop, plain functions in a thread."""
    memory: Annotated[Bytes, Field(ge=2**20, le=2**50)] | None = None
    """Memory limit of its process; above it the process is killed and the task fails."""
    max_tasks_per_process: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """A process is replaced after this number of tasks."""
    batch: Annotated[int, Field(ge=1, le=MAX_BATCH)] | None = None
    """How many tasks one call takes at most; only for handlers declared with `batch`."""
    linger_s: Annotated[Seconds, Field(ge=0, le=3600)] | None = None
    """How long the oldest task of a batch waits for more (50ms)."""
    result_ttl_s: Annotated[Seconds, Field(ge=0, le=366 * DAY)] | None = None
    """How long the result of a task with an `id` is kept; none: the decorator's value, or not."""
    track: bool | None = None
    """Whether the state of a task with an `id` (waiting, running) is kept until it has ended."""


class DeadLettersConfig(Section):
    """How much is kept of what will not run again."""

    max: int = Field(default=10_000, ge=0, le=1_000_000_000)
    """How many dead letters of tasks are kept; above it the oldest are dropped, with a warning."""
    invalid_max: int = Field(default=1_000, ge=0, le=1_000_000_000)
    """How many invalid items are kept; above it the oldest are dropped, with a warning."""
    invalid_max_bytes: Bytes = Field(default=128 * 2**20, ge=0, le=2**40)
    """How many bytes of invalid items are kept."""


class ResultsConfig(Section):
    """What is kept of tasks that have ended, for tasks and types that have a `result_ttl`."""

    max_ttl_s: Seconds = Field(default=7.0 * DAY, ge=1, le=366 * DAY)
    """Upper bound of the `result_ttl` of a task; a tracked state is kept for this long."""
    max_bytes: Bytes = Field(default=64 * 2**10, ge=1, le=16 * 2**20)
    """A task whose returned value is larger as JSON fails."""


class EmailConfig(Section):
    """The server through which the `email` handler sends; without a host it is a dry run."""

    host: Host | None = None
    """The SMTP server; none: a dry run that only logs the mail."""
    port: int = Field(default=587, ge=1, le=65535)
    """Its port."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """`tls` from the first byte (port 465), `starttls`, or `none`."""
    tls_ca_file: Word | None = None
    """PEM file of a private CA; none: the system's CAs."""
    username: Word | None = None
    """The login; needs TLS."""
    password: Secret | None = None
    """Its password."""
    password_file: Word | None = None
    """A file that contains the password."""
    sender: Annotated[Word, values.SENDER] | None = None
    """The address that mails come from; needed with `host`."""
    timeout_s: Seconds = Field(default=20.0, gt=0, le=600)
    """How long sending one mail may take."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.host and not self.sender:
            raise ValueError("host needs sender too, the address that mails come from")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password (or password_file) need each other")
        if self.username and self.tls == "none":
            raise ValueError(
                "a login would cross the network readable; tls must be starttls or tls"
            )
        return self


class FilesConfig(Section):
    """Where the `file_process` handler may work; without a root it is a dry run."""

    root: Word | None = None
    """The only folder that the handler can reach; none: a dry run."""
    max_bytes: Bytes = Field(default=100 * 2**20, ge=1, le=2**40)
    """A larger file is refused."""
    results_prefix: Word | None = None
    """Prefix of the Redis lists that tasks may have results pushed to; none: no results."""


class HttpConfig(Section):
    """Metrics, health and status."""

    enabled: bool = True
    """Whether to serve /metrics, /livez, /readyz and /status."""
    host: Host = "127.0.0.1"
    """The address to listen on; `0.0.0.0` in a container."""
    port: int = Field(default=9464, ge=0, le=65535)
    """The port; 0 chooses a free one and logs it."""
    page: bool = True
    """Whether to serve the status page too."""
    token: Annotated[Secret, values.LONG] | None = None
    """Needed on the page to requeue, drop, cancel and pause; none: the page is read-only."""
    token_file: Word | None = None
    """A file that contains the token."""
    names: Annotated[tuple[Host, ...], ONCE] = ()
    """Further host names of the page, besides `localhost`, IP addresses and this machine's name."""


class LogConfig(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged."""
    format: Literal["text", "json"] = "text"
    """For people, or for collectors."""
    tasks: Annotated[Word, values.TASK_LINES] = "all"
    """Which tasks get their own log lines; a share always includes failures."""
    previews: bool = True
    """Whether the line about an invalid item shows how the item starts."""

    @property
    def task_sample(self) -> float:
        """The share of tasks whose ordinary lines are logged, 0.0 to 1.0."""
        if self.tasks.endswith("%"):
            return float(self.tasks[:-1]) / 100
        return 1.0 if self.tasks == "all" else 0.0


class Config(Section):
    """Everything that config.yaml can say, as it holds after all layers."""

    redis: RedisConfig = RedisConfig()
    queue: QueueConfig = QueueConfig()
    worker: WorkerConfig = WorkerConfig()
    handlers: Annotated[tuple[Annotated[Line, good(checked_name)], ...], ONCE] = Field(
        default=("taskrig.handlers",), min_length=1
    )
    """Packages or modules with handlers, or one `package.module:function` for the whole task."""
    tasks: Mapping[Annotated[Word, values.TASK_TYPE], TaskConfig] = Field(default_factory=dict)
    schedule: Annotated[tuple[Annotated[Line, good(parse_line)], ...], ONCE] = ()
    """Lines of NAME, five cron fields, a time zone (default: UTC) and a task as JSON."""
    dead_letters: DeadLettersConfig = DeadLettersConfig()
    results: ResultsConfig = ResultsConfig()
    email: EmailConfig = EmailConfig()
    files: FilesConfig = FilesConfig()
    http: HttpConfig = HttpConfig()
    log: LogConfig = LogConfig()

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _source: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _lists_share_a_slot(self) -> Self:
        queue = self.queue
        for name in queue.sources if self.redis.cluster else ():
            if not shares_slot(name, queue.key):
                raise ValueError(
                    f"queue.lists names {name}, which would not share the Cluster slot of "
                    f"queue.key {queue.key}; give both the same hash tag, as in urgent{{jobs}}"
                )
        return self

    @property
    def origins(self) -> dict[str, str]:
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

    def hash(self) -> str:
        """Twelve hex digits that change with any setting but a secret one."""
        plain = self.model_dump(by_alias=True)
        plain["redis"]["url"] = self.redis.masked_url()
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=lambda secret: None)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
