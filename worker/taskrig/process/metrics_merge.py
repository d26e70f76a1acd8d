"""One /metrics of several processes: counters and histograms add up, and never go back.

A process that ended leaves its last counters in the sum. Gauges follow what they mean: what is
per process is added, what is the same on every worker is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

ADDED = {
    *("worker_concurrency_limit", "worker_tasks_in_flight", "worker_threads_overdue"),
    *("process_virtual_memory_bytes", "process_resident_memory_bytes", "process_open_fds"),
}
SAME = {"worker_dead_letters_trimmed"}  # a counter of the whole queue: each process tells it all
LEAST = {"worker_redis_up", "worker_draining", "process_start_time_seconds"}
DONE = ("succeeded", "dry_run", "failed", "dead")
Key = tuple[str, tuple[tuple[str, str], ...]]
Page = list[Metric]


class Merged(Collector):
    """Pages of several processes as one. Not thread-safe: the caller holds a lock."""

    def __init__(self) -> None:
        self._now: dict[int, Page] = {}  # by slot, of living processes
        self._ended: dict[Key, float] = {}  # counters of processes that ended
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def update(self, slot: int, text: str) -> None:
        """The latest page of the process in a slot."""
        self._now[slot] = list(text_string_to_metric_families(text))

    def end(self, slot: int) -> int:
        """That process has ended: its counters stay in the sum, its gauges do not.

        Returns how many tasks it had brought to an end, as far as it was asked.
        """
        done = 0
        for family in self._now.pop(slot, ()):
            if _adds_up(family):
                for sample in family.samples:
                    key = (sample.name, tuple(sorted(sample.labels.items())))
                    self._ended[key] = self._ended.get(key, 0.0) + sample.value
                    if sample.name == "worker_tasks_total" and sample.labels["outcome"] in DONE:
                        done += int(sample.value)
        return done

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The merged page and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> Iterable[Metric]:
        """Nothing: known only when collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family once, in the order of the first page that has it."""
        families: dict[str, Metric] = {}
        values: dict[str, dict[Key, float]] = {}
        for page in self._now.values():
            for family in page:
                families.setdefault(family.name, family)
                self._add(family, values.setdefault(family.name, {}))
        for name, family in families.items():
            merged = Metric(name, family.documentation, family.type)
            for (sample, labels), value in values[name].items():
                if _adds_up(family):
                    value += self._ended.get((sample, labels), 0.0)
                merged.add_sample(sample, dict(labels), value)
            yield merged

    @staticmethod
    def _add(family: Metric, values: dict[Key, float]) -> None:
        added = _adds_up(family) or family.name in ADDED
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            if key not in values:
                values[key] = sample.value
            elif added:
                values[key] += sample.value
            elif family.name in LEAST:
                values[key] = min(values[key], sample.value)
            else:
                values[key] = max(values[key], sample.value)


def _adds_up(family: Metric) -> bool:
    return family.type in ("counter", "histogram") and family.name not in SAME
