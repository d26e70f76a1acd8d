"""What a running load generator tells Prometheus; read from its ledger when it is scraped.

Nothing is counted on the hot path. `loadgen_run_info` appears with a run and goes with it: a
dashboard shows by it which run went on when.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from taskrig.errors import UsageError
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.maths.stats import PERCENTILES, percentile
from taskrig_loadgen.result.ledger import DEAD, FAILED, SUCCEEDED, Ledger
from taskrig_loadgen.run.experiment import Stage

RECENT = 2000  # tasks that the send lag looks back on
_OUTCOMES = {"succeeded": SUCCEEDED, "failed": FAILED, "dead": DEAD}


class RunCollector:
    """The metrics of one run."""

    def __init__(self, stage: Callable[[], Stage], workload: Workload, kind: str) -> None:
        """`stage` gives the run's present stage."""
        self._stage = stage
        self._workload = workload
        self._kind = kind

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client at each scrape, in its own thread."""
        stage, workload = self._stage(), self._workload
        elapsed = max(stage.elapsed_s(), 0.0)
        ledger = stage.ledger or Ledger(())
        about = {
            "run": stage.run_id,
            "kind": self._kind,
            "mix": workload.mix.text[:200],
            "phase": stage.phase,
        }
        yield InfoMetricFamily("loadgen_run", "The run that goes on now.", about)
        offered = min(workload.offered_by(elapsed), workload.total)
        yield CounterMetricFamily(
            "loadgen_tasks_offered",
            "Tasks that were due by now (with Poisson, on average).",
            value=offered,
        )
        rate = workload.profile.rate_at(elapsed) if workload.profile else 0.0
        yield GaugeMetricFamily(
            "loadgen_offered_rate", "Tasks a second that the profile asks for now.", value=rate
        )
        yield CounterMetricFamily(
            "loadgen_tasks_sent", "Tasks pushed and not refused.", value=ledger.sent_count
        )
        done = CounterMetricFamily(
            "loadgen_tasks_done", "Tasks of this run that ended, by outcome.", labels=["outcome"]
        )
        for name, number in _OUTCOMES.items():
            done.add_metric([name], ledger.by_outcome[number])
        yield done
        yield CounterMetricFamily(
            "loadgen_tasks_duplicate",
            "Executions beyond each task's first.",
            value=ledger.duplicates,
        )
        yield _send_lag(ledger)


def _send_lag(ledger: Ledger) -> Metric:
    lag = GaugeMetricFamily(
        "loadgen_send_lag_seconds",
        "Acknowledged minus intended, of the last 2,000 tasks.",
        labels=["percentile"],  # not quantile: that label is a summary's, which counts for ever
    )
    pairs = zip(ledger.acked[-RECENT:], ledger.intended[-RECENT:], strict=False)
    recent = sorted(acked - intended for acked, intended in pairs if acked == acked)
    for name in ("p50", "p99"):
        if recent:
            lag.add_metric([name], percentile(recent, PERCENTILES[name]))
    return lag


def serve(address: str, collector: RunCollector) -> Callable[[], None]:
    """Answer /metrics at `host:port` or `port` until the returned function is called.

    Raises:
        UsageError: the address is none, or the port is taken.
    """
    match = re.fullmatch(r"(?:(\[[0-9a-fA-F:]+\]|[\w.-]+):)?(\d{1,5})", address)
    if not match or int(match[2]) > 65535:
        raise UsageError(f"--metrics {address!r}: write it like 9465 or 0.0.0.0:9465")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    host = (match[1] or "127.0.0.1").strip("[]")
    try:
        server, thread = start_http_server(int(match[2]), host, registry)
    except OSError as error:
        raise UsageError(f"--metrics {address!r}: {error.strerror or error}") from None

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
