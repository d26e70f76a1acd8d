"""One /metrics of several processes: what adds up, and what is the whole queue's."""

from __future__ import annotations

from taskrig.metrics import Metrics
from taskrig.process.metrics_merge import Merged


def _page(trimmed: int, done: int, looked: bool = True) -> str:
    metrics = Metrics(["email"], concurrency=1, version="1", config="0")
    metrics.looked, metrics.trimmed = looked, {"failed": trimmed, "invalid": 1}
    metrics.of("email").outcomes["succeeded"] = done
    return metrics.expose("")[0].decode()


def _value(merged: Merged, series: str) -> float:
    lines = merged.expose("")[0].decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series + " "))


def test_a_counter_of_the_whole_queue_is_not_multiplied_by_the_processes() -> None:
    merged, done = Merged(), 'worker_tasks_total{outcome="succeeded",type="email"}'
    trimmed = 'worker_dead_letters_trimmed_total{kind="failed"}'
    merged.update(0, _page(trimmed=40, done=3))
    merged.update(1, _page(trimmed=41, done=4))
    merged.update(2, _page(trimmed=0, done=0, looked=False))
    assert _value(merged, trimmed) == 41
    assert _value(merged, done) == 7

    merged.end(0)
    assert _value(merged, trimmed) == 41
    assert _value(merged, done) == 7
