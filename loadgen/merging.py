"""Results of several generators of one load, as one result. Pure.

Counts and rates are added, histograms merged (three digits), means weighted. Percentiles of
single seconds cannot be merged: the worst of the generators stands there, an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loadgen.figures import SERIES
from loadgen.histogram import merge as merge_histograms
from loadgen.result import Result, verdict
from loadgen.stats import PERCENTILES, supported
from worker.errors import UsageError


def merge(results: Sequence[Result]) -> Result:
    """One result of at least two.

    Raises:
        UsageError: fewer than two, one of them twice, or runs of different kinds or types.
    """
    if len(results) < 2:
        raise UsageError("merging needs at least two results")
    if len({r["run_id"] for r in results}) < len(results):
        raise UsageError("the same run is given twice")
    first = results[0]
    for other in results[1:]:
        if other["kind"] != first["kind"]:
            raise UsageError(f"cannot merge: kind is {other['kind']!r} and {first['kind']!r}")
        if set(other["workload"]["mix"]) != set(first["workload"]["mix"]):
            raise UsageError("cannot merge: the runs have different types")
    started = min(r["started"] for r in results)
    texts = [r["workload"]["profile"] for r in results]
    same = len(set(texts)) == 1
    profile = texts[0] and (f"{len(results)} x {texts[0]}" if same else " + ".join(texts))
    whole: Result = {
        **first,
        "run_id": "+".join(r["run_id"] for r in results),
        "started": started,
        "queue": ", ".join(dict.fromkeys(r["queue"] for r in results)),
        "workload": {**first["workload"], "profile": profile},
        "clock": _clock([r["clock"] for r in results]),
        "accounting": _added([r["accounting"] for r in results]),
        "totals": _totals(results, started),
        "series": {
            kind: {name: _series([r["series"][kind][name] for r in results]) for name in SERIES}
            for kind in first["series"]
        },
        "timeline": _timeline(results, started),
        "forecast": None,  # each was told of its own part of the load
        "interrupted": any(r["interrupted"] for r in results),
        "followed": all(r["followed"] for r in results),
        "outages": sum(r["outages"] for r in results),
        "unsearched": next((r["unsearched"] for r in results if r.get("unsearched")), None),
        "send_errors": _added([r["send_errors"] for r in results]),
        "expectations": [],
    }
    if all("outside" in r for r in results):
        whole["outside"] = _outside(results, started)
    whole["verdict"] = verdict(whole)
    return whole


def _added(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0) for part in parts) for name in names}


def _clock(clocks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "offset_error_s": max(c["offset_error_s"] for c in clocks),
        "drift_s": max(
            (c["drift_s"] for c in clocks if c["drift_s"] is not None), key=abs, default=None
        ),
        "anomalies": sum(c["anomalies"] for c in clocks),
    }


def _totals(results: Sequence[Result], started: float) -> dict[str, Any]:
    totals = [r["totals"] for r in results]

    def known(name: str) -> list[float]:
        return [t[name] for t in totals if t.get(name) is not None]

    ends = [r["started"] + r["totals"]["makespan_s"] for r in results if r["totals"]["makespan_s"]]
    makespan = max(ends) - started if ends else None
    done = sum(r["accounting"][n] for r in results for n in ("succeeded", "failed", "dead"))
    return {
        **totals[0],
        "makespan_s": makespan,
        "serial_s": math.fsum(known("serial_s")) or None,
        "ideal_s": None,  # of one pushed order; several have none
        "ideal_basis": "unknown",
        "concurrency": _over_queues(results, "concurrency"),
        "workers": _over_queues(results, "workers"),
        "offered_per_s": math.fsum(known("offered_per_s")) or None,
        "achieved_per_s": math.fsum(known("achieved_per_s")) or None,
        "done_per_s": done / makespan if makespan else None,
        "send_s": max(t["send_s"] for t in totals),
        "drain_s": None,
        "drained_per_s": None,
        "flat_out_per_s": None,
        "measured_due": sum(known("measured_due")) or None,
        "measured_started": sum(known("measured_started")) or None,
        "slot_overhead_s": min(known("slot_overhead_s"), default=None),
        "pickup_s": min(known("pickup_s"), default=None),
        "lag_s": min(known("lag_s"), default=None),
    }


def _over_queues(results: Sequence[Result], name: str) -> int:
    """Workers of one queue were seen by every generator; those of another queue are others."""
    by_queue: dict[str, int] = {}
    for result in results:
        queue, value = result["queue"], result["totals"][name]
        by_queue[queue] = max(by_queue.get(queue, 0), value)
    return sum(by_queue.values())


def _series(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    parts = [part for part in parts if part["count"]]
    if not parts:
        return {"count": 0}
    count = sum(part["count"] for part in parts)
    mean = math.fsum(part["mean"] * part["count"] for part in parts) / count
    square = math.fsum(
        part["stddev"] ** 2 * (part["count"] - 1) + part["count"] * (part["mean"] - mean) ** 2
        for part in parts
    )
    histogram = merge_histograms(part["hdr"] for part in parts)
    figures = {
        "count": count,
        "mean": mean,
        "stddev": math.sqrt(square / (count - 1)) if count > 1 else 0.0,
        "min": min(part["min"] for part in parts),
        "max": max(part["max"] for part in parts),
    }
    for name, share in PERCENTILES.items():
        if supported(count, share):
            figures[name] = histogram.get_value_at_percentile(share * 100) / 1e6
    return {**figures, "hdr": histogram.encode().decode()}


Rows = list[dict[str, Any]]

_ADDED = ("offered", "sent", "done", "busy_slots")
_DEPTHS = ("waiting", "in_flight", "concurrency")  # of the queue, whoever looks at it


def _timeline(results: Sequence[Result], started: float) -> Rows:
    by_queue: dict[str, list[Rows]] = {}
    for result in results:
        shift = round(result["started"] - started)
        rows = [{**row, "second": row["second"] + shift} for row in result["timeline"]]
        by_queue.setdefault(result["queue"], []).append(rows)
    queues = [_together(parts, _ADDED) for parts in by_queue.values()]
    return _together(queues, (*_ADDED, *_DEPTHS))


def _together(timelines: Sequence[Rows], added: Sequence[str]) -> Rows:
    """One row for each second, in which `added` are sums and all else is the largest."""
    rows: dict[int, dict[str, Any]] = {}
    for row in (row for timeline in timelines for row in timeline):
        into = rows.setdefault(row["second"], {**row, **dict.fromkeys(added, 0)})
        for name, value in row.items():
            if name in added:
                into[name] = round(into[name] + (value or 0), 3)
            elif value is not None:
                into[name] = value if into[name] is None else max(into[name], value)
    return [rows[second] for second in sorted(rows)]


def _outside(results: Sequence[Result], started: float) -> dict[str, Any]:
    """What was seen from outside, of all queues.

    Whoever read the workers' metrics read those of all tasks: of several such sums the largest.
    """
    seen = [r["outside"] for r in results]
    most: dict[str, Any] = max(seen, key=_counted)
    known = all(one["emptied_s"] is not None for one in seen)
    areas: dict[str, float] = {}  # mean wait times tasks, by queue
    for result in results:
        area = (result["outside"]["mean_wait_s"] or 0.0) * result["accounting"]["sent"]
        areas[result["queue"]] = max(areas.get(result["queue"], 0.0), area)
    sent = sum(r["accounting"]["sent"] for r in results)
    return {
        **most,
        "emptied_s": max(r["started"] - started + r["outside"]["emptied_s"] for r in results)
        if known else None,
        "mean_wait_s": math.fsum(areas.values()) / sent if known and sent else None,
    }  # fmt: skip


def _counted(seen: dict[str, Any]) -> float:
    return math.fsum(
        value
        for figures in seen["types"].values()
        for name, value in figures.items()
        if not name.endswith("_s")
    )
