"""What a board and a panel are, and the PromQL that several boards share."""

from __future__ import annotations

from dataclasses import dataclass

JOB = 'job=~"$job"'
HERE = 'job=~"$job", instance=~"$instance"'
TYPE = 'job=~"$job", type=~"$type"'
ENDED = 'outcome=~"succeeded|dry_run|failed|dead"'
DEPTHS = ("waiting", "in_flight", "delayed", "paused", "dead")  # the states of the queue's tasks


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: `series` maps a legend to its PromQL; `stat` is a single number, `band` a low
    graph over the whole width whose series are 1 while something goes on.

    `unit` is Grafana's name of it: s, ops (a second), short, percentunit, bytes.
    """

    title: str
    description: str
    unit: str
    series: dict[str, str]
    stat: bool = False
    band: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; `variables` maps a name to the label query that fills it."""

    uid: str
    title: str
    description: str
    variables: dict[str, str]
    panels: tuple[Panel, ...]


def quantile(share: float, metric: str, where: str, by: str = "") -> str:
    groups = f"le, {by}" if by else "le"
    return (
        f"histogram_quantile({share}, sum by ({groups}) "
        # Where nothing was observed the quantile is NaN, which some panels cannot draw.
        f"(rate({metric}_bucket{{{where}}}[$__rate_interval]))) >= 0"
    )


def rate(metric: str, where: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def depth(state: str) -> str:
    return queue_wide("worker_queue_depth", f'{JOB}, state="{state}"')


def queue_wide(metric: str, where: str, by: str = "") -> str:
    """What all workers of a queue say alike: once for each queue, then the sum of the queues."""
    outer, inner = (f" by ({by})", f"job, {by}") if by else ("", "job")
    return f"sum{outer} (max by ({inner}) ({metric}{{{where}}}))"


WAIT = "worker_task_wait_seconds"
DURATION = "worker_task_duration_seconds"
ROUNDTRIP = "worker_redis_roundtrip_seconds"
