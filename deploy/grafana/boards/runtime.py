"""Each worker: its connection, event loop, memory and CPU."""

from __future__ import annotations

from boards.queries import HERE, ROUNDTRIP, Board, Panel, quantile, rate

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
            {f"p{share:g}": quantile(share / 100, ROUNDTRIP, HERE) for share in (50, 99)},
        ),
        Panel(
            "Errors of calls to Redis",
            "By kind; during an outage connection errors are normal.",
            "ops",
            {"{{kind}}": rate("worker_redis_errors_total", HERE, "kind")},
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
            {"{{instance}}": rate("process_cpu_seconds_total", HERE, "instance")},
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
            "could not be confirmed, dead letters dropped because there were too many, members of "
            "groups that nobody has defined, and log lines that nobody read.",
            "ops",
            {
                "reclaimed": f"sum(rate(worker_tasks_reclaimed_total{{{HERE}}}[$__rate_interval]))",
                "claims lost": f"sum(rate(worker_claims_lost_total{{{HERE}}}[$__rate_interval]))",
                "unconfirmed": "sum(rate(worker_settles_unconfirmed_total"
                f"{{{HERE}}}[$__rate_interval]))",
                "dead letters dropped": "sum(max by (job) (rate(worker_dead_letters_trimmed_total"
                f"{{{HERE}}}[$__rate_interval])))",
                "members without group": "sum(rate(worker_group_members_missing_total"
                f"{{{HERE}}}[$__rate_interval]))",
                "log lines dropped": "sum(rate(worker_log_lines_dropped_total"
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
            "1 while a worker drains or a queue is paused; plain-function handlers that outlived "
            "their timeout.",
            "short",
            {
                "draining {{instance}}": f"worker_draining{{{HERE}}}",
                "paused {{job}}": f"max by (job) (worker_paused{{{HERE}}})",
                "threads {{instance}}": f"worker_threads_overdue{{{HERE}}}",
            },
        ),
        Panel(
            "Processes of tasks",
            "Processes of handlers with run_in: process, and how many ended a minute, by reason.",
            "short",
            {
                "processes {{instance}}": f"worker_task_processes{{{HERE}}}",
                "ended: {{reason}}": "sum by (reason) (rate(worker_task_process_ends_total"
                f"{{{HERE}}}[$__rate_interval])) * 60",
            },
        ),
        Panel(
            "Memory of processes of tasks",
            "All of a worker's together; what they share is counted in each.",
            "bytes",
            {"{{instance}}": f"worker_task_processes_memory_bytes{{{HERE}}}"},
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
