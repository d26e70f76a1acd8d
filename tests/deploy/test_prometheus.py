"""A real Prometheus that scrapes real workers under load: everything returns data, alerts fire.

The alerts' own durations are minutes. Here they are scaled to seconds by rewriting the rule files,
so that firing and resolving are seen for real; `ALERTS_FULL=1` takes the files as they are.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.deploy.compose_stack import Stack, docker, require_compose
from tests.deploy.test_dashboards import expressions
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
FULL = bool(os.environ.get("ALERTS_FULL"))
FIRES_WITHIN_S = 600.0 if FULL else 60.0
RESOLVES_WITHIN_S = 900.0 if FULL else 90.0

pytestmark = pytest.mark.timeout(3600 if FULL else 300)


class Prometheus:
    """What the tests ask of it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def _get(self, path: str, **query: str) -> Any:
        url = f"{self._url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expr: str) -> list[float]:
        """The values of an instant query, one for each series."""
        return [float(row["value"][1]) for row in self._get("/query", query=expr)["result"]]

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        alerts = self._get("/alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def _scaled(text: str) -> str:
    """Seconds for minutes: windows of 5 minutes become 10 s, `for` 2 s, a look every 2 s."""
    text = re.sub(r"for: \d+m", "for: 2s", text).replace("[5m]", "[10s]")
    text = re.sub(r"(scrape|evaluation)_interval: 5s", r"\1_interval: 2s", text)
    return text.replace(
        "(worker_last_claim_timestamp_seconds) > 60", "(worker_last_claim_timestamp_seconds) > 4"
    )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    require_compose()
    folder = tmp_path_factory.mktemp("prometheus")
    rules = folder / "prometheus"
    rules.mkdir()
    for path in FOLDER.glob("*.yaml"):
        text = path.read_text()
        (rules / path.name).write_text(text if FULL else _scaled(text))
    for path in (folder, rules):
        path.chmod(0o755)  # Prometheus runs as nobody
    more = f"""
services:
  worker:
    environment: {{TASKRIG_WORKER__DRAIN_TIMEOUT: {"10m" if FULL else "25s"}}}
  prometheus:
    volumes: ["{rules}:/etc/prometheus:ro"]
"""
    one = Stack(folder, more, ["prometheus"])
    one.close()
    one.build()
    if "prometheus" not in docker("image", "ls", "--format", "{{.Repository}}"):
        assert not os.environ.get("CI"), "CI needs the Prometheus image"
        pytest.skip("the Prometheus image is not here")
    one.up(workers=2)
    yield one
    one.close()


@pytest.fixture(scope="module")
def prometheus(stack: Stack) -> Prometheus:
    found = Prometheus(stack.prometheus_port)
    until(
        lambda: sum(found.values('up{job="taskrig"}')) == 2, 60, "Prometheus to scrape both workers"
    )
    return found


@pytest.fixture
def queue(stack: Stack) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(stack.redis_url) as client:
        yield client


def _push(queue: redis.Redis, task_type: str, count: int = 1, **data: float) -> None:
    item = json.dumps({"type": task_type, "data": data, "enqueued_at": time.time()})
    queue.lpush("async_tasks", *[item] * count)


@contextmanager
def _steadily(action: Callable[[], None], every_s: float = 0.2) -> Iterator[None]:
    """Do `action` again and again while the block runs."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every_s):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _fires_and_resolves(prometheus: Prometheus, alert: str, cause: Iterator[None]) -> None:
    """`alert` is silent, fires while `cause` is entered, and is silent again after it."""
    assert alert not in prometheus.firing()
    began = time.monotonic()
    with contextmanager(lambda: cause)():
        until(lambda: alert in prometheus.firing(), FIRES_WITHIN_S, f"{alert} to fire")
        fired_s = time.monotonic() - began
    ended = time.monotonic()
    until(lambda: alert not in prometheus.firing(), RESOLVES_WITHIN_S, f"{alert} to resolve")
    resolved_s = time.monotonic() - ended
    scale = "as shipped" if FULL else "scaled"
    print(f"{alert} ({scale}): fired after {fired_s:.0f} s, resolved after {resolved_s:.0f} s")


def _selectors(expr: str) -> list[str]:
    return re.findall(r"(?:job\w*:)?(?:worker|process)_[\w:]+(?:\{[^}]*\})?|up\{[^}]*\}", expr)


def _asked() -> list[str]:
    """Every panel's expression, every recording rule's, and every selector of the alerts."""
    panels = [
        re.sub(r"\$(job|instance|type)\b", ".+", expr).replace("$__rate_interval", "1m")
        for expr in expressions()
    ]
    recording = [rule["expr"] for rule in _rules("recording.yaml")]
    alerts = [selector for rule in _rules("alerts.yaml") for selector in _selectors(rule["expr"])]
    return list(dict.fromkeys([*panels, *recording, *alerts]))


def _rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_expression_of_every_panel_and_rule_returns_data_under_load(
    stack: Stack, prometheus: Prometheus, queue: redis.Redis
) -> None:
    def empty() -> dict[str, list[float]]:
        answers = {expr: prometheus.values(expr) for expr in _asked()}
        return {e: v for e, v in answers.items() if not v or all(map(math.isnan, v))}

    load = ("run", "--rm", "--no-deps", "--use-aliases", "load")
    run = threading.Thread(target=stack.compose, args=load)
    run.start()  # the Compose file's own load
    items = ("not json", *(json.dumps({"type": one}) for one in ("in_a_process", "in_a_batch")))
    with _steadily(lambda: queue.lpush("async_tasks", *items)):
        until(lambda: not empty(), 90, lambda: f"data for {list(empty())}")
        for expr in _asked():
            values = [v for v in prometheus.values(expr) if not math.isnan(v)]
            print(f"{max(values, default=math.nan):12.6g}  ({len(values):2} series)  {expr}")
    run.join()


def test_worker_down_fires_for_a_frozen_worker_and_resolves(
    stack: Stack, prometheus: Prometheus
) -> None:
    def frozen() -> Iterator[None]:
        worker = stack.workers()[0]
        docker("pause", worker)
        try:
            yield
        finally:
            docker("unpause", worker)

    _fires_and_resolves(prometheus, "WorkerDown", frozen())


def test_redis_unreachable_fires_while_redis_is_away_and_resolves(
    stack: Stack, prometheus: Prometheus
) -> None:
    def away() -> Iterator[None]:
        stack.compose("stop", "redis")
        try:
            yield
        finally:
            stack.compose("start", "redis")

    _fires_and_resolves(prometheus, "RedisUnreachable", away())


def test_task_failure_rate_high_fires_for_a_failing_handler_and_resolves(
    prometheus: Prometheus, queue: redis.Redis
) -> None:
    def failing() -> Iterator[None]:
        with _steadily(lambda: _push(queue, "always_fails")):
            yield

    _fires_and_resolves(prometheus, "TaskFailureRateHigh", failing())


def test_queue_stalled_fires_when_all_workers_only_drain_and_resolves(
    stack: Stack, prometheus: Prometheus, queue: redis.Redis
) -> None:
    def draining() -> Iterator[None]:
        _push(queue, "wait", 4, seconds=300 if FULL else 14)
        until(lambda: queue.hlen("{async_tasks}:inflight") == 4, what="the long tasks to run")
        for worker in stack.workers():
            docker("kill", "--signal", "TERM", worker)
        _push(queue, "noop", 10)
        yield  # the engine starts each worker again when it has drained

    _fires_and_resolves(prometheus, "QueueStalled", draining())
