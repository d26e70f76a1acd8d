"""How this worker is: alive, ready, what it runs. Asked by probes, by other workers, by people.

Everything here is a glance from another thread, and may be out of date by the time it is told.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from typing import Any

from taskrig import __version__
from taskrig.authoring.registry import Registry
from taskrig.config.sections import Config
from taskrig.engine.clock import ServerClock
from taskrig.engine.engine import Engine
from taskrig.engine.execution import Execution
from taskrig.metrics import Metrics
from taskrig.web import Sample

STALL_S = 30.0  # without a successful exchange for this long, with Redis there: not alive
BLOCKED_S = 2.0  # a heartbeat as old as this: a handler has blocked the event loop
RUNNING_SHOWN = 100  # of the running tasks in a worker's description
TYPES_SHOWN = 100  # with more handlers than that it says of none


class Vitals:
    """`engine` is None until Redis was reached; `http_address` is "" without an HTTP port."""

    def __init__(
        self, config: Config, worker_id: str, registry: Registry, metrics: Metrics
    ) -> None:
        self._config = config
        self._id = worker_id
        self._metrics = metrics
        self._started_at = time.time()
        types = sorted(handler.type for handler in registry.entries())
        self._types = types if len(types) <= TYPES_SHOWN else None
        tests = sorted(handler.type for handler in registry.entries() if handler.is_test)
        self._test_types = tests[:TYPES_SHOWN]
        self.http_address = ""
        self.engine: Engine | None = None

    @property
    def running(self) -> list[Execution]:
        """What runs now."""
        return self.engine.running if self.engine is not None else []

    def longest_running_s(self) -> float:
        """Age of the oldest task that runs now, in seconds."""
        running = self.running
        return time.monotonic() - min(e.started for e in running) if running else 0.0

    def live(self) -> tuple[bool, str]:
        """Whether this process should go on: not its handlers, not Redis, but its own loops."""
        if self.engine is None:
            return True, "starting"
        now, outage = time.monotonic(), self.engine.consumer.outage
        beat_s = now - self.engine.heartbeat.at
        if beat_s > BLOCKED_S:
            return True, f"a handler has blocked the event loop for {beat_s:.1f} s"
        silent_s = now - outage.answered_at
        if outage.since is None and silent_s > max(STALL_S, 3 * self._config.worker.lease_s):
            return False, f"no exchange with Redis for {silent_s:.0f} s"
        return True, "ok"

    def ready(self) -> tuple[bool, str]:
        """Whether this worker takes tasks: Redis is there, the queue was looked at, no drain."""
        if self._metrics.draining:
            return False, "draining"
        if self.engine is None:
            return False, "starting"
        if self.engine.consumer.outage.since is not None or not self._metrics.redis_up:
            return False, "Redis is away"
        if not self._metrics.looked:
            return False, "has not looked at the queue yet"
        return True, "ok"

    def status(self) -> dict[str, Any]:
        """This worker, for /status."""
        described: dict[str, Any] = json.loads(self.describe())
        seen = self.engine.gauges.depths if self.engine is not None else None
        return described | {
            "queue": self._config.queue.key,
            "depth": dict(self._metrics.depth) if self._metrics.looked else {},  # {}: not known yet
            "draining": bool(self._metrics.draining),
            "paused": bool(self._metrics.paused),
            "paused_types": sorted(seen.paused_types) if seen is not None else [],
        }

    def sample(self) -> Sample | None:
        """The depths of the latest look: the page's plots cost Redis nothing more."""
        seen = self.engine.gauges.depths if self.engine is not None else None
        if seen is None or not self._metrics.redis_up:
            return None
        oldest_s = self._metrics.oldest_age_s
        return Sample(seen.waiting, seen.in_flight, seen.dead, seen.claimed, oldest_s)

    def describe(self) -> str:
        """This worker as the others see it in P:about, as JSON."""
        engine, running = self.engine, self.running
        clock = engine.lease.clock if engine is not None else ServerClock()
        ours_s = time.time() - time.monotonic()  # where the server's clock is not known yet
        return json.dumps(
            {
                "id": self._id,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started": round(self._started_at, 3),
                "concurrency": self._config.worker.max_concurrent,
                "version": __version__,
                "http": self.http_address,
                "types": self._types,
                "test_types": self._test_types,
                "limited": engine.limited_names if engine is not None else [],
                "lease": self._config.worker.lease_s,
                "cpu": round(time.process_time(), 3),
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "running_total": len(running),
                "running": [
                    {
                        "tag": e.delivery.tag,
                        "type": e.task.type[:100] if e.task is not None else "",
                        "since": round(clock.at(e.started) or e.started + ours_s, 3),
                        **_more_of(e),
                    }
                    for e in running[:RUNNING_SHOWN]
                ],
            }
        )


def _more_of(execution: Execution) -> dict[str, int]:
    """Pid, and bytes of memory, of the process that runs it; of a batch, how many tasks it has."""
    process, batch = execution.process, execution.batch
    more = {} if process is None else {"pid": process.pid, "memory": process.memory}
    return more if batch is None else {**more, "batch": len(batch.executions)}
