"""Is the work getting done, and how long does it wait?"""

from __future__ import annotations

from boards.queries import DEPTHS, ENDED, JOB, WAIT, Board, Panel, depth, quantile, queue_wide, rate

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
            {"waiting": depth("waiting")},
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
            {
                "used": f"sum(worker_tasks_in_flight{{{JOB}}}) / "
                f"sum(worker_concurrency_limit{{{JOB}}})"
            },
            stat=True,
        ),
        Panel(
            "Workers",
            "Workers that answer Prometheus.",
            "short",
            # Not `up`: with all jobs chosen a load generator that is scraped would count too.
            {"workers": f"count(worker_build_info{{{JOB}}}) or vector(0)"},
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
            "Tasks of the chosen queues by state (paused: set aside, of paused types), and those "
            "of the waiting ones that a limit of their type keeps back (held).",
            "short",
            {
                **{state: depth(state) for state in DEPTHS},
                "held": queue_wide("worker_queue_held", JOB),
            },
        ),
        Panel(
            "Wait before a task starts",
            "From enqueued_at to the handler's start, for tasks whose producer gives it.",
            "s",
            {f"p{share:g}": quantile(share / 100, WAIT, JOB) for share in (50, 90, 99)},
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
            {"{{outcome}}": rate("worker_tasks_total", JOB, "outcome")},
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
            {
                "bad": f'sum(job_type_outcome:worker_tasks:rate5m{{{JOB}, outcome=~"failed|dead"}})'
                f" / (sum(job_type_outcome:worker_tasks:rate5m{{{JOB}, {ENDED}}}) > 0)"
            },
        ),
        Panel(
            "Items that are no tasks",
            "List items that were skipped and kept, by reason: a producer's fault.",
            "ops",
            {"{{reason}}": rate("worker_invalid_items_total", JOB, "reason")},
        ),
    ),
)
