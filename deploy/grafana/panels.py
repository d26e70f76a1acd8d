"""What the dashboards show: one line of text, unit and PromQL for each panel. No JSON here."""

from __future__ import annotations

from dataclasses import dataclass

JOB = 'job=~"$job"'
HERE = 'job=~"$job", instance=~"$instance"'
TYPE = 'job=~"$job", type=~"$type"'
ENDED = 'outcome=~"succeeded|failed|dead"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: `series` maps a legend to its PromQL; `stat` is a single number.

    `unit` is Grafana's name of it: s, ops (a second), short, percentunit, bytes.
    """

    title: str
    description: str
    unit: str
    series: dict[str, str]
    stat: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; `variables` maps a name to the label query that fills it."""

    uid: str
    title: str
    description: str
    variables: dict[str, str]
    panels: tuple[Panel, ...]


def _quantile(share: float, metric: str, where: str, by: str = "") -> str:
    groups = f"le, {by}" if by else "le"
    return (
        f"histogram_quantile({share}, sum by ({groups}) "
        # Where nothing was observed the quantile is NaN, which some panels cannot draw.
        f"(rate({metric}_bucket{{{where}}}[$__rate_interval]))) >= 0"
    )


def _rate(metric: str, where: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def _queue(state: str) -> str:
    # The same on every worker: taken once.
    return f'max(worker_queue_depth{{{JOB}, state="{state}"}})'


WAIT = "worker_task_wait_seconds"
DURATION = "worker_task_duration_seconds"
ROUNDTRIP = "worker_redis_roundtrip_seconds"

OVERVIEW = Board(
    uid="taskrig-overview",
    title="Taskrig: overview",
    description="Is the work getting done, and how long does it wait?",
    variables={"job": "label_values(worker_build_info, job)"},
    panels=(
        Panel(
            "Done per second",
            "Tasks that reached an end within the last minute.",
            "ops",
            {"done": f"sum(job:worker_tasks_done:rate1m{{{JOB}}})"},
            stat=True,
        ),
        Panel(
            "Waiting",
            "Tasks in the queue that nobody has taken yet.",
            "short",
            {"waiting": _queue("waiting")},
            stat=True,
        ),
        Panel(
            "Oldest waiting",
            "Age of the next task by its enqueued_at; without one a lower bound.",
            "s",
            {"age": f"max(worker_queue_oldest_age_seconds{{{JOB}}})"},
            stat=True,
        ),
        Panel(
            "Time to empty",
            "How long the waiting tasks take at the present pace, if no more came in.",
            "s",
            {
                "left": f"sum(job:worker_queue_waiting:max{{{JOB}}}) / "
                f"(sum(job:worker_tasks_done:rate1m{{{JOB}}}) > 0)"
            },
            stat=True,
        ),
        Panel(
            "Slots in use",
            "Share of all workers' slots that run a task.",
            "percentunit",
            {"used": f"max(job:worker_slots_used:ratio{{{JOB}}})"},
            stat=True,
        ),
        Panel(
            "Workers",
            "Workers that answer Prometheus.",
            "short",
            {"workers": f"sum(up{{{JOB}}})"},
            stat=True,
        ),
        Panel(
            "Offered and done",
            "What comes in against what gets done. Offered is estimated: done, and what the "
            "backlog grew by.",
            "ops",
            {
                "offered": f"sum(job:worker_tasks_offered:rate1m{{{JOB}}})",
                "done": f"sum(job:worker_tasks_done:rate1m{{{JOB}}})",
            },
        ),
        Panel(
            "Queue",
            "Tasks of the whole queue by state.",
            "short",
            {state: _queue(state) for state in ("waiting", "in_flight", "delayed", "dead")},
        ),
        Panel(
            "Wait before a task starts",
            "From enqueued_at to the handler's start, for tasks whose producer gives it.",
            "s",
            {f"p{share:g}": _quantile(share / 100, WAIT, JOB) for share in (50, 90, 99)},
        ),
        Panel(
            "Age of the oldest waiting task",
            "Rises steadily when nothing is taken.",
            "s",
            {"age": f"max(worker_queue_oldest_age_seconds{{{JOB}}})"},
        ),
        Panel(
            "Tasks by outcome",
            "succeeded, failed (kept as dead letters), dead (their workers died), released (given "
            "back at a shutdown).",
            "ops",
            {"{{outcome}}": _rate("worker_tasks_total", JOB, "outcome")},
        ),
        Panel(
            "Slots",
            "Tasks that run, and how many could.",
            "short",
            {
                "running": f"sum(worker_tasks_in_flight{{{JOB}}})",
                "limit": f"sum(worker_concurrency_limit{{{JOB}}})",
            },
        ),
        Panel(
            "Share that does not succeed",
            "Failed and dead among all tasks that ended, over five minutes.",
            "percentunit",
            {"bad": f"max(job:worker_tasks_bad:ratio_rate5m{{{JOB}}})"},
        ),
        Panel(
            "Items that are no tasks",
            "List items that were skipped and kept, by reason: a producer's fault.",
            "ops",
            {"{{reason}}": _rate("worker_invalid_items_total", JOB, "reason")},
        ),
    ),
)

TASK_TYPE = Board(
    uid="taskrig-task-type",
    title="Taskrig: task type",
    description="One type of task, or several, side by side.",
    variables={
        "job": "label_values(worker_build_info, job)",
        "type": 'label_values(worker_tasks_total{job=~"$job"}, type)',
    },
    panels=(
        Panel(
            "Done per second",
            "Tasks of the chosen types that ended, by type.",
            "ops",
            {"{{type}}": _rate("worker_tasks_total", f"{TYPE}, {ENDED}", "type")},
        ),
        Panel(
            "Running",
            "Tasks of the chosen types that run now.",
            "short",
            {"{{type}}": f"sum by (type) (worker_tasks_in_flight{{{TYPE}}})"},
        ),
        Panel(
            "Duration, median",
            "Time inside the handler.",
            "s",
            {"{{type}}": _quantile(0.5, DURATION, TYPE, "type")},
        ),
        Panel(
            "Duration, p99",
            "Time inside the handler.",
            "s",
            {"{{type}}": _quantile(0.99, DURATION, TYPE, "type")},
        ),
        Panel(
            "Wait, p99",
            "From enqueued_at to the handler's start, for tasks whose producer gives it.",
            "s",
            {"{{type}}": _quantile(0.99, WAIT, TYPE, "type")},
        ),
        Panel(
            "Outcomes",
            "What became of the tasks of the chosen types.",
            "ops",
            {"{{outcome}}": _rate("worker_tasks_total", TYPE, "outcome")},
        ),
        Panel(
            "Share that does not succeed",
            "Failed and dead among those that ended, over five minutes.",
            "percentunit",
            {
                "{{type}}": "sum by (type) (job_type_outcome:worker_tasks:rate5m"
                f'{{{TYPE}, outcome=~"failed|dead"}}) / (sum by (type) '
                f"(job_type_outcome:worker_tasks:rate5m{{{TYPE}, {ENDED}}}) > 0)"
            },
        ),
        Panel(
            "Slots taken",
            "Handler seconds spent per second: how many slots the type keeps busy on average.",
            "short",
            {"{{type}}": _rate(f"{DURATION}_sum", TYPE, "type")},
        ),
    ),
)

RUNTIME = Board(
    uid="taskrig-runtime",
    title="Taskrig: Redis and runtime",
    description="Each worker's connection, event loop, memory and CPU.",
    variables={
        "job": "label_values(worker_build_info, job)",
        "instance": 'label_values(worker_build_info{job=~"$job"}, instance)',
    },
    panels=(
        Panel(
            "Redis answers",
            "1 while this worker's last call was answered.",
            "short",
            {"{{instance}}": f"worker_redis_up{{{HERE}}}"},
        ),
        Panel(
            "One exchange with Redis",
            "Settle what ended, claim what fits: one round trip.",
            "s",
            {f"p{share:g}": _quantile(share / 100, ROUNDTRIP, HERE) for share in (50, 99)},
        ),
        Panel(
            "Errors of calls to Redis",
            "By kind; during an outage connection errors are normal.",
            "ops",
            {"{{kind}}": _rate("worker_redis_errors_total", HERE, "kind")},
        ),
        Panel(
            "Event loop lag",
            "The worst delay lately: a handler that blocks shows here.",
            "s",
            {"{{instance}}": f"worker_event_loop_lag_seconds{{{HERE}}}"},
        ),
        Panel(
            "Longest running task",
            "Age of the oldest task that runs in each worker.",
            "s",
            {"{{instance}}": f"worker_task_longest_running_seconds{{{HERE}}}"},
        ),
        Panel(
            "CPU",
            "Cores used by each worker.",
            "short",
            {"{{instance}}": _rate("process_cpu_seconds_total", HERE, "instance")},
        ),
        Panel(
            "Memory",
            "Resident memory of each worker; does not depend on the backlog.",
            "bytes",
            {"{{instance}}": f"process_resident_memory_bytes{{{HERE}}}"},
        ),
        Panel(
            "Open files",
            "File descriptors of each worker: connections, mostly.",
            "short",
            {"{{instance}}": f"process_open_fds{{{HERE}}}"},
        ),
        Panel(
            "Taken over and lost",
            "Tasks of dead workers given back to the queue, claims lost to others, settles that "
            "could not be confirmed, and dead letters dropped because there were too many.",
            "ops",
            {
                "reclaimed": f"sum(rate(worker_tasks_reclaimed_total{{{HERE}}}[$__rate_interval]))",
                "claims lost": f"sum(rate(worker_claims_lost_total{{{HERE}}}[$__rate_interval]))",
                "unconfirmed": "sum(rate(worker_settles_unconfirmed_total"
                f"{{{HERE}}}[$__rate_interval]))",
                "dead letters dropped": "sum(rate(worker_dead_letters_trimmed_total"
                f"{{{HERE}}}[$__rate_interval]))",
            },
        ),
        Panel(
            "Since the last claim",
            "How long ago each worker took its last task.",
            "s",
            {"{{instance}}": f"time() - (worker_last_claim_timestamp_seconds{{{HERE}}} > 0)"},
        ),
        Panel(
            "Draining, paused, overdue threads",
            "1 while a worker drains or the queue is paused; plain-function handlers that outlived "
            "their timeout.",
            "short",
            {
                "draining {{instance}}": f"worker_draining{{{HERE}}}",
                "paused": f"max(worker_paused{{{HERE}}})",
                "threads {{instance}}": f"worker_threads_overdue{{{HERE}}}",
            },
        ),
        Panel(
            "Versions and configurations",
            "Workers by version and by hash of their configuration: two lines during a rollout.",
            "short",
            {
                "version {{version}}": f"count by (version) (worker_build_info{{{HERE}}})",
                "config {{hash}}": f"count by (hash) (worker_config_info{{{HERE}}})",
            },
        ),
    ),
)

BOARDS = (OVERVIEW, TASK_TYPE, RUNTIME)
