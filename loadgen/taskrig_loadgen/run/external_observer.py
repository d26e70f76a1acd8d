"""Watching from outside, for workers that leave no completion records: depths and /metrics.

What can be known this way is little, and the report says so. Depths tell when the queue was
empty, and by Little's law (mean waiting = rate x mean wait) how long tasks waited on average.
A worker's /metrics add how many ended how, and the mean service time per type.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from taskrig.broker import QueueCommands
from taskrig.errors import TaskrigError
from taskrig_loadgen.queueview import QueueView
from taskrig_loadgen.result.ledger import Ledger
from taskrig_loadgen.result.model import Outside
from taskrig_loadgen.result.record import Whereabouts
from taskrig_loadgen.run.observer import Observer

MODES = ("probe", "queue", "metrics")
CANNOT = {
    "queue": "from depths alone: no times of single tasks, no percentiles, no failures; "
    "'gone' may be done, failed or lost, and other producers' tasks are counted in",
    "metrics": "from depths and /metrics: no times of single tasks, no percentiles; counts and "
    "means are of all tasks of those workers, other producers' too",
}
SCRAPE_TIMEOUT_S = 5.0


class NotScraped(TaskrigError):
    """A worker's /metrics did not answer; the message names the address."""


@dataclass(slots=True)
class Totals:
    """Sums of a worker's metrics per type, or the difference of two looks at them."""

    ended: dict[tuple[str, str], float] = field(default_factory=dict)  # (type, outcome)
    service: dict[str, tuple[float, float]] = field(default_factory=dict)  # sum s, count
    wait: dict[str, tuple[float, float]] = field(default_factory=dict)

    def since(self, before: Totals) -> dict[str, dict[str, float]]:
        """Per type what happened since `before`: outcomes, mean service, mean wait (seconds)."""
        found: dict[str, dict[str, float]] = {}
        for (kind, outcome), value in self.ended.items():
            count = value - before.ended.get((kind, outcome), 0.0)
            if count > 0:
                found.setdefault(kind, {})[outcome] = count
        for name, now, old in (
            ("mean_service_s", self.service, before.service),
            ("mean_wait_s", self.wait, before.wait),
        ):
            for kind, (total, count) in now.items():
                total_before, count_before = old.get(kind, (0.0, 0.0))
                if kind in found and count > count_before:
                    found[kind][name] = (total - total_before) / (count - count_before)
        return found


def read_totals(texts: Sequence[str]) -> Totals:
    """The sums over several workers' metrics pages."""
    totals = Totals()
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                kind = sample.labels.get("type", "")
                if sample.name == "worker_tasks_total":
                    key = (kind, sample.labels.get("outcome", ""))
                    totals.ended[key] = totals.ended.get(key, 0.0) + sample.value
                _add(totals.service, "worker_task_duration_seconds", kind, sample)
                _add(totals.wait, "worker_task_wait_seconds", kind, sample)
    return totals


def _add(sums: dict[str, tuple[float, float]], name: str, kind: str, sample: Any) -> None:
    total, count = sums.get(kind, (0.0, 0.0))
    if sample.name == f"{name}_sum":
        sums[kind] = total + sample.value, count
    elif sample.name == f"{name}_count":
        sums[kind] = total, count + sample.value


async def scrape(urls: Sequence[str]) -> Totals:
    """Read every worker's /metrics once.

    Raises:
        NotScraped: one does not answer, or answers with something else.
    """
    return read_totals([await asyncio.to_thread(_fetch, url) for url in urls])


async def seen_outside(
    mode: str,
    views: Sequence[QueueView],
    sent: int,
    first: float,
    urls: Sequence[str],
    before: Totals,
) -> Outside:
    """What was learnt of a run without completion records.

    Args:
        mode: what was watched: queue or metrics.
        views: looks at the queue, in order.
        sent: tasks of this run.
        first: server time of the first push.
        before: the workers' sums before it.
    """
    emptied_s, mean_wait_s = _emptied_and_waited(views, sent, first)
    types: dict[str, dict[str, float]] = {}
    note = None
    try:
        types = (await scrape(urls)).since(before)
    except NotScraped as error:
        note = str(error)
    return Outside(
        mode=mode,
        cannot=CANNOT[mode],
        emptied_s=emptied_s,
        mean_wait_s=mean_wait_s,
        types=types,
        note=note,
    )


def _fetch(url: str) -> str:
    try:
        proxies: dict[str, str] | None = (
            {} if _is_here(url) else None
        )  # None: those of the environment
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
        with opener.open(url, timeout=SCRAPE_TIMEOUT_S) as page:
            text: str = page.read().decode()
        list(text_string_to_metric_families(text))
    except (OSError, ValueError, HTTPException) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise NotScraped(f"cannot read the metrics of a worker at {url}: {said}") from None
    return text


def _is_here(url: str) -> bool:
    """Whether it names this machine itself, which no proxy of the environment leads to."""
    name = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address.is_loopback or address.is_unspecified


class ExternalObserver(Observer):
    """Looks at depths only; every task that is nowhere in the queue is `gone`."""

    def __init__(self, client: Any, commands: QueueCommands, run_id: str, ledger: Ledger) -> None:
        super().__init__(client, commands, run_id, ledger)
        self.look_every_s = 0.05

    async def _read_records(self) -> int:
        return 0  # from outside: also where a worker would leave records

    async def step(self) -> bool:
        """Look at the depths when it is time; progress is any change of them."""
        before = self.views[-1] if self.views else None
        await super().step()
        after = self.views[-1]
        if before is None or (before.waiting, before.in_flight) != (after.waiting, after.in_flight):
            self.last_progress = time.perf_counter()
        return False

    async def search(self) -> Whereabouts:
        """As the probing observer, but what is nowhere is gone, not lost."""
        where = await super().search()
        return replace(where, lost=0, gone=where.lost + where.gone)


def _emptied_and_waited(
    views: Sequence[QueueView], sent: int, first: float
) -> tuple[float | None, float | None]:
    """When the queue was empty, and the mean wait by Little's law; None: it never was."""
    seen = [view for view in views if view.at >= first]
    busy = [n for n, view in enumerate(seen) if view.waiting + view.in_flight + view.delayed]
    after = busy[-1] + 1 if busy else 0
    if after >= len(seen):
        return None, None
    area = sum((b.at - a.at) * (a.waiting + b.waiting) / 2 for a, b in pairwise(seen))
    return seen[after].at - first, area / sent if sent else None
