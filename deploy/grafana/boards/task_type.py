"""One type of task, or several, side by side."""

from __future__ import annotations

from boards.queries import DURATION, ENDED, TYPE, WAIT, Board, Panel, quantile, queue_wide, rate

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
            {"{{type}}": rate("worker_tasks_total", f"{TYPE}, {ENDED}", "type")},
        ),
        Panel(
            "Running",
            "Tasks of the chosen types that run now.",
            "short",
            {"{{type}}": f"sum by (type) (worker_tasks_in_flight{{{TYPE}}})"},
        ),
        Panel(
            "Duration, mean",
            "Time inside the handler, exact.",
            "s",
            {
                "{{type}}": f"{rate(f'{DURATION}_sum', TYPE, 'type')} / "
                f"({rate(f'{DURATION}_count', TYPE, 'type')} > 0)"
            },
        ),
        Panel(
            "Duration, p99",
            "Time inside the handler; read from buckets whose edges are up to ten times apart "
            "(1 s, 10 s): a type of 2 s shows here as nearly 10 s.",
            "s",
            {"{{type}}": quantile(0.99, DURATION, TYPE, "type")},
        ),
        Panel(
            "Wait, p99",
            "From enqueued_at to the handler's start, for tasks whose producer gives it.",
            "s",
            {"{{type}}": quantile(0.99, WAIT, TYPE, "type")},
        ),
        Panel(
            "Outcomes",
            "What became of the tasks of the chosen types.",
            "ops",
            {"{{outcome}}": rate("worker_tasks_total", TYPE, "outcome")},
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
            "Held back",
            "Waiting tasks that the limits of their type hold back; types with limits only.",
            "short",
            {"{{type}}": queue_wide("worker_tasks_held", TYPE, "type")},
        ),
        Panel(
            "Tasks a batch",
            "Tasks of one call on average; types with batches only.",
            "short",
            {
                "{{type}}": f"{rate('worker_batch_size_sum', TYPE, 'type')} / "
                f"({rate('worker_batch_size_count', TYPE, 'type')} > 0)"
            },
        ),
        Panel(
            "Slots taken",
            "Handler seconds spent per second: how many slots the type keeps busy on average.",
            "short",
            {"{{type}}": rate(f"{DURATION}_sum", TYPE, "type")},
        ),
    ),
)
