"""A run of loadgen beside what the workers made of it."""

from __future__ import annotations

from boards.queries import JOB, WAIT, Board, Panel, quantile

LOAD_TEST = Board(
    uid="taskrig-load-test",
    title="Taskrig: load test",
    description="A run of loadgen: what was to be offered, what was, and what came of it.",
    variables={"job": "label_values(worker_build_info, job)"},
    panels=(
        Panel(
            "Runs",
            "Which run went on when: its kind, mix and phase. Sending, then draining: what is left "
            "gets done; accounting: every task is looked for.",
            "short",
            {"{{kind}} {{mix}}, {{phase}}": "max by (run, kind, mix, phase) (loadgen_run_info)"},
            band=True,
        ),
        Panel(
            "Expected and actual",
            "The rate that the run's profile asks for, what was sent, and what was done.",
            "ops",
            {
                "expected": "sum(loadgen_offered_rate)",
                "sent": "sum(rate(loadgen_tasks_sent_total[$__rate_interval]))",
                "done": "sum(rate(loadgen_tasks_done_total[$__rate_interval]))",
            },
        ),
        Panel(
            "Sent and not done yet",
            "Tasks of the run that wait or run: a line that keeps rising is an overload.",
            "short",
            {"open": "sum(loadgen_tasks_sent_total) - sum(loadgen_tasks_done_total)"},
        ),
        Panel(
            "Send lag",
            "How late the generator itself was; high, and the run's figures are not to be trusted.",
            "s",
            {"{{percentile}}": "max by (percentile) (loadgen_send_lag_seconds)"},
        ),
        Panel(
            "What became of the run's tasks",
            "Tasks that ended, by outcome, and executions beyond each task's first.",
            "short",
            {
                "{{outcome}}": "sum by (outcome) (loadgen_tasks_done_total)",
                "run twice": "sum(loadgen_tasks_duplicate_total)",
                "due by now": "sum(loadgen_tasks_offered_total)",
            },
        ),
        Panel(
            "Wait before a task starts",
            "From enqueued_at to the handler's start, as the workers see it.",
            "s",
            {f"p{share:g}": quantile(share / 100, WAIT, JOB) for share in (50, 99)},
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
    ),
)
