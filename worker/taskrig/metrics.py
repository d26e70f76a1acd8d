"""Every metric the worker exports. Base units; bounded labels.

`type` is a registered or configured type or "unknown", never text from a payload: a label value
is a time series that lives as long as the process.

The hot path adds to plain numbers that only the event loop writes; a scrape, in its own thread,
reads them. Nothing here asks Redis for anything: what comes from there is set by the worker's
look at the queue, once an interval.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from taskrig.task import REASONS

DURATION_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 10.0, 60.0, 300.0)
BATCH_BUCKETS = (1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0)  # tasks
WAIT_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 1800.0)
ROUNDTRIP_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0)
OUTCOMES = ("succeeded", "failed", "retried", "released", "dead", "delayed", "held")
PROCESS_ENDS = ("timeout", "memory", "crashed", "cancelled", "released", "max_tasks")
ERROR_KINDS = (
    *("connection", "timeout", "loading", "readonly", "out_of_memory", "max_clients", "auth"),
    *("permission", "database", "wrong_type", "script", "misconf", "busy", "other"),
)


class Buckets:
    """A histogram that one thread observes and others read."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value, in the unit of the bounds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, how many at most that) for each bucket, as the exposition wants them."""
        rows, so_far = [], 0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), list(self.counts), strict=True):
            so_far += count
            rows.append((bound, float(so_far)))
        return rows


class TypeMetrics:
    """What is counted for one task type."""

    __slots__ = ("batches", "duration", "in_flight", "outcomes", "wait")

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.duration = Buckets(DURATION_BUCKETS)
        self.wait = Buckets(WAIT_BUCKETS)
        self.in_flight = 0
        self.batches: Buckets | None = None  # tasks a batch, of a type that has batches


class Metrics(Collector):
    """The numbers of one worker; `expose` renders them for Prometheus."""

    def __init__(
        self,
        types: Iterable[str],
        concurrency: int,
        version: str,
        config: str,
        dry_runs: Iterable[str] = (),
    ) -> None:
        """`dry_runs`: the types whose tasks have no effect, and are not counted as succeeded."""
        self._dry_runs = frozenset(dry_runs)
        self.types = {name: TypeMetrics() for name in sorted({*types, "unknown"})}
        self.invalid = dict.fromkeys(REASONS, 0)
        self.redis_errors = dict.fromkeys(ERROR_KINDS, 0)
        self.roundtrip = Buckets(ROUNDTRIP_BUCKETS)
        self.concurrency = concurrency
        self.group_members_missing = 0
        self.claims_lost = self.settles_unconfirmed = self.reclaimed = 0
        self.trimmed = {"failed": 0, "invalid": 0}  # as Depths has it
        # What the queue holds is not known before the first look at it, and a zero in its place
        # would read as a jump by the whole backlog then: until that look these have no series.
        self.looked = False
        self.depth = {"waiting": 0, "in_flight": 0, "delayed": 0, "dead": 0, "paused": 0}
        self.held_by_type: dict[str, int] = {}  # of types with limits: what they hold back
        self.lists: dict[str, int] = {}  # waiting in each, where the queue has several
        self.oldest_age_s = self.loop_lag_s = self.last_claim_at = 0.0
        self.redis_up = self.draining = self.paused = self.held = self.overdue_threads = 0
        self.process_ends = dict.fromkeys(PROCESS_ENDS, 0)
        # How many there are, and their bytes; None where no type runs in one: then no series.
        self.processes: Callable[[], tuple[int, int]] | None = None
        self.longest_running_s: Callable[[], float] = lambda: 0.0
        self.lines_dropped: Callable[[], int] = lambda: 0
        self._facts = (version, config)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def of(self, label: str) -> TypeMetrics:
        """The numbers of one type; a type that is not known counts as "unknown"."""
        return self.types.get(label) or self.types["unknown"]

    def count_error(self, kind: str) -> None:
        """Count one failed call to Redis."""
        self.redis_errors[kind if kind in self.redis_errors else "other"] += 1

    def totals(self) -> dict[str, int]:
        """Deliveries of this worker by outcome, over all types."""
        return {o: sum(t.outcomes[o] for t in self.types.values()) for o in OUTCOMES}

    def dry_runs(self) -> int:
        """How many of those that succeeded had no effect."""
        return sum(self.types[name].outcomes["succeeded"] for name in self._dry_runs)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type, for the Accept header of the scrape."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> Iterable[Metric]:
        """Nothing: known only when collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family, by what it is about."""
        yield from self._tasks()
        yield from self._queue()
        yield from self._process()
        yield from self._redis()

    def _process(self) -> Iterator[Metric]:
        yield _gauge("concurrency_limit", "Most tasks this worker runs at once.", self.concurrency)
        yield _gauge(
            "task_longest_running_seconds",
            "Age of the oldest task that runs here now.",
            self.longest_running_s(),
        )
        yield _gauge(
            "event_loop_lag_seconds",
            "Worst delay of the event loop lately: a handler that blocks shows here.",
            self.loop_lag_s,
        )
        yield _gauge(
            "threads_overdue",
            "Plain-function handlers that outlived their timeout; each "
            "keeps its slot until it ends.",
            self.overdue_threads,
        )
        count, memory = self.processes() if self.processes is not None else (None, None)
        yield _gauge("task_processes", "Processes that run tasks, or wait for some.", count)
        yield _gauge("task_processes_memory_bytes", "Memory of all of them together.", memory)
        ends = CounterMetricFamily(
            "worker_task_process_ends",
            "Processes of tasks that ended, by reason.",
            labels=["reason"],
        )
        for reason, number in self.process_ends.items() if self.processes is not None else ():
            ends.add_metric([reason], number)
        yield ends
        yield _counter(
            "log_lines_dropped",
            "Lines of standard output and error that nobody read, or that could not be written.",
            self.lines_dropped(),
        )
        yield _gauge(
            "last_claim_timestamp_seconds",
            "When this worker last claimed a task.",
            self.last_claim_at,
        )
        yield _gauge("draining", "1 while this worker drains.", self.draining)
        yield _gauge("paused", "1 while the queue is paused.", self.paused)
        version, config = self._facts
        yield _info("build_info", "The worker's version.", "version", version)
        yield _info("config_info", "Short hash of the configuration.", "hash", config)

    def _redis(self) -> Iterator[Metric]:
        roundtrip = HistogramMetricFamily("worker_redis_roundtrip_seconds", "Time of one exchange.")
        roundtrip.add_metric([], self.roundtrip.cumulative(), self.roundtrip.total)
        yield roundtrip
        errors = CounterMetricFamily(
            "worker_redis_errors", "Failed calls to Redis, by kind.", labels=["kind"]
        )
        for kind, count in self.redis_errors.items():
            errors.add_metric([kind], count)
        yield errors
        yield _gauge("redis_up", "1 while Redis answers.", self.redis_up)
        yield _counter(
            "claims_lost",
            "Tasks settled too late: another worker may have run them.",
            self.claims_lost,
        )
        yield _counter(
            "settles_unconfirmed",
            "Settles sent again after a lost reply that "
            "found nothing: most were executed the first time.",
            self.settles_unconfirmed,
        )
        yield _counter(
            "group_members_missing",
            "Tasks that ended as members of a group that is not there, and were not counted.",
            self.group_members_missing,
        )
        yield _counter(
            "tasks_reclaimed",
            "Tasks of dead workers that this worker gave back to the queue.",
            self.reclaimed,
        )

    def _tasks(self) -> Iterator[Metric]:
        total = CounterMetricFamily(
            "worker_tasks",
            "Deliveries, by type and what became of them.",
            labels=["type", "outcome"],
        )
        duration = HistogramMetricFamily(
            "worker_task_duration_seconds", "Time spent inside a handler.", labels=["type"]
        )
        wait = HistogramMetricFamily(
            "worker_task_wait_seconds",
            "From enqueued_at, where the producer gives it, to the handler's start.",
            labels=["type"],
        )
        running = GaugeMetricFamily(
            "worker_tasks_in_flight",
            "Tasks that run in this worker now; a batch counts as one.",
            labels=["type"],
        )
        sizes = HistogramMetricFamily(
            "worker_batch_size", "Tasks of one call, of types with batches.", labels=["type"]
        )
        for name, t in self.types.items():
            for outcome, count in t.outcomes.items():
                if outcome == "succeeded" and name in self._dry_runs:
                    total.add_metric([name, "dry_run"], count)
                    count = 0
                total.add_metric([name, outcome], count)
            duration.add_metric([name], t.duration.cumulative(), t.duration.total)
            wait.add_metric([name], t.wait.cumulative(), t.wait.total)
            running.add_metric([name], t.in_flight)
            if t.batches is not None:
                sizes.add_metric([name], t.batches.cumulative(), t.batches.total)
        invalid = CounterMetricFamily(
            "worker_invalid_items", "List items that are no tasks, by reason.", labels=["reason"]
        )
        for reason, count in self.invalid.items():
            invalid.add_metric([reason], count)
        yield from (total, duration, wait, running, sizes, invalid)

    def _queue(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily(
            "worker_queue_depth",
            "Tasks of the whole queue by state (paused: of paused types, set aside); the same on "
            "every worker: take max, never sum.",
            labels=["state"],
        )
        for state, count in self.depth.items() if self.looked else ():
            depth.add_metric([state], count)
        yield depth
        held = GaugeMetricFamily(
            "worker_tasks_held",
            "Tasks of the whole queue that the limits of their type hold back, of those "
            "waiting; types with limits only. The same on every worker: take max, never sum.",
            labels=["type"],
        )
        for name, count in self.held_by_type.items() if self.looked else ():
            held.add_metric([name], count)
        yield held
        if self.lists:
            lists = GaugeMetricFamily(
                "worker_list_waiting",
                "Tasks that wait in each list of the queue; the same on every worker: take max.",
                labels=["list"],
            )
            for name, count in self.lists.items():
                lists.add_metric([name], count)
            yield lists
        yield _gauge(
            "queue_held",
            "Of the waiting tasks, those that a limit of their type keeps "
            "back. Take max, never sum.",
            self._seen(self.held),
        )
        yield _gauge(
            "queue_oldest_age_seconds",
            "Age of the next task by its enqueued_at, else "
            "the time since the queue last moved: a lower bound. Take max, never sum.",
            self._seen(self.oldest_age_s),
        )
        trimmed = CounterMetricFamily(
            "worker_dead_letters_trimmed",
            "Dead letters of the whole queue that their bounds dropped: tasks (failed), by "
            "dead_letters.max, and invalid items. The same on every worker: take max, never sum.",
            labels=["kind"],
        )
        for kind, count in self.trimmed.items() if self.looked else ():
            trimmed.add_metric([kind], count)
        yield trimmed

    def _seen(self, value: float) -> float | None:
        return value if self.looked else None


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(f"worker_{name}", text, value=value)


def _counter(name: str, text: str, value: float | None) -> Metric:
    return CounterMetricFamily(f"worker_{name}", text, value=value)


def _info(name: str, text: str, label: str, value: str) -> Metric:
    family = GaugeMetricFamily(f"worker_{name}", text, labels=[label])
    family.add_metric([value], 1)
    return family
