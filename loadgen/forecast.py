"""Theory beside measurement: what a queue with a run's rate, services and slots should do. Pure."""

from __future__ import annotations

import math
from typing import Any

from loadgen.capacity import Queue
from loadgen.histogram import merge
from loadgen.result import Result
from loadgen.stats import PERCENTILES

WITHIN = ("p50", "p90", "p95", "p99")


def queue_of(
    result: Result, *, rate: float | None = None, slots: int | None = None
) -> Queue | None:
    """The queue that a result describes, or one like it; None when too little is known.

    A slot is taken for the handler and for the turnaround until it has started the next task,
    so both are its service time; a free slot still needs a moment to pick a task up.
    """
    service = result["series"]["all"]["service"]
    totals = result["totals"]
    rate = rate or totals["achieved_per_s"]
    slots = slots or totals["concurrency"]
    if not service["count"] or not rate or not slots:
        return None
    taken_s = service["mean"] + (totals.get("slot_overhead_s") or 0.0)
    cv2 = (service["stddev"] / taken_s) ** 2 if taken_s > 0 else 0.0
    lag_s = result["series"]["all"]["send_lag"].get("p50", 0.0)
    pickup_s = totals.get("pickup_s") or 0.0
    return Queue(rate, taken_s, cv2, slots, _arrival_cv2(result), lag_s, pickup_s)


def _arrival_cv2(result: Result) -> float:
    """1 for Poisson, 0 for uniform; a burst of n counts as n (batch arrivals)."""
    text = result["workload"]["arrivals"]
    if text == "uniform":
        return 0.0
    if text.startswith("burst:"):
        return float(text.removeprefix("burst:"))
    return 1.0


def predicted(result: Result) -> dict[str, Any] | None:
    """Rows of wait, predicted and measured; None where the theory does not apply.

    It applies to a steady rate below capacity: not to a mix pushed at once, nor to a ramp.
    """
    profile = result["workload"]["profile"]
    if profile is None or "," in profile or ".." in profile:
        return None
    queue = queue_of(result)
    if queue is None or queue.slots > 100_000:
        return None
    wait = result["series"]["all"]["wait"]
    rows = [_row("mean", queue.seen_mean_s, wait.get("mean"))]
    rows += [_row(p, queue.seen_wait_s(PERCENTILES[p]), wait.get(p)) for p in WITHIN if p in wait]
    return {
        "utilization": queue.utilization,
        "rate_per_s": queue.rate,
        "service_s": queue.service_s,
        "service_cv2": queue.service_cv2,
        "slots": queue.slots,
        "waits": queue.waits,
        "pickup_s": queue.lag_s + queue.pickup_s,
        "rows": rows,
    }


def _row(name: str, forecast: float, measured: float | None) -> dict[str, Any]:
    return {
        "figure": f"wait {name}",
        "predicted_s": forecast if math.isfinite(forecast) else None,
        "measured_s": measured,
    }


def service_samples(result: Result, most: int = 20_000) -> list[float]:
    """Service times as measured, drawn evenly from the histogram (seconds)."""
    histogram = merge([result["series"]["all"]["service"]["hdr"]])
    total = histogram.get_total_count()
    step = max(1, total // most)
    samples: list[float] = []
    carried = 0
    for item in histogram.get_recorded_iterator():
        carried += item.count_at_value_iterated_to
        samples += [item.value_iterated_to / 1e6] * (carried // step)
        carried %= step
    return samples
