"""What one measurement is given: a server, its queue, and processes that surely end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.peers.rounds import MeasureFailed
from benchmarks.peers.server import connect
from taskrig.keys import Keys

ROOT = Path(__file__).resolve().parent.parent
QUEUE = "bench"
PUSH_AT_ONCE = 1000  # items in one LPUSH
GIVE_UP_S = 120.0
# A proxy that the environment names does not lead to this machine.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Bench:
    """One server, one queue, one measurement at a time."""

    def __init__(self, url: str, folder: Path, python: str = sys.executable) -> None:
        self.url = url
        self.port = urlsplit(url).port or 0
        self.folder = folder
        self.python = python
        self.client = connect(url)
        self._runs = 0

    def push(self, kind: str, count: int, payload_bytes: int = 0) -> float:
        """Empty the server and put `count` tasks on the queue; returns tasks/s."""
        self.client.flushdb()
        return self.fill(kind, count, payload_bytes)

    def fill(self, kind: str, count: int, payload_bytes: int = 0) -> float:
        """Put `count` tasks on the queue; returns tasks/s."""
        item = json.dumps({"type": kind, "data": {"text": "x" * payload_bytes}})
        before = time.monotonic()
        with self.client.pipeline(transaction=False) as pipe:
            for start in range(0, count, PUSH_AT_ONCE):
                pipe.lpush(QUEUE, *([item] * min(PUSH_AT_ONCE, count - start)))
                if len(pipe) >= 50 or payload_bytes > 10_000:
                    pipe.execute()
            pipe.execute()
        return count / (time.monotonic() - before)

    @contextlib.contextmanager
    def worker(
        self,
        concurrency: int,
        *,
        expect: int,
        settings: Sequence[str] = (),
        max_tasks: int = 0,
        profile: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Iterator[Path]:
        """A worker as users get it; yields the file that its clock will write."""
        profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
        limit = ["--max-tasks", str(max_tasks)] if max_tasks else []
        sets = [
            word for one in ("log.tasks=none", "http.port=0", *settings) for word in ("--set", one)
        ]
        command = [
            *(self.python, *profiler, "-m", "taskrig", "run", "--config", str(self._config())),
            *("--redis-url", self.url, "--redis-key", QUEUE),
            *("--max-concurrent", str(concurrency), *limit, *sets),
        ]
        with self._process(command, expect, env) as out:
            yield out

    @contextlib.contextmanager
    def probe(self, concurrency: int, tasks: int) -> Iterator[Path]:
        """The bare probe."""
        command = [
            *(self.python, "-m", "benchmarks.probe", str(self.port), QUEUE),
            *(str(concurrency), str(tasks)),
        ]
        with self._process(command, tasks) as out:
            yield out

    @contextlib.contextmanager
    def _process(
        self, command: list[str], expect: int, more: Mapping[str, str] | None = None
    ) -> Iterator[Path]:
        self._runs += 1
        out = self.folder / f"clock-{self._runs}.json"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TASKRIG_")}
        env = {**kept, **(more or {}), "PYTHONPATH": str(ROOT)}
        env |= {"CLOCK_OUT": str(out), "CLOCK_EXPECT": str(expect)}
        with (self.folder / f"log-{self._runs}.txt").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
        try:
            yield out
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        finally:
            process.kill()
            process.wait()

    def _config(self) -> Path:
        path = self.folder / "config.yaml"
        path.write_text("handlers: [benchmarks.handlers]\n")
        return path

    def read(self, out: Path, timeout_s: float = GIVE_UP_S) -> dict[str, Any]:
        """What a clock has written, once it has; raises MeasureFailed."""
        deadline = time.monotonic() + timeout_s
        while not out.exists():
            if time.monotonic() > deadline:
                log = out.with_name(out.name.replace("clock", "log")).with_suffix(".txt")
                tail = " ".join(log.read_text(errors="replace").split())[-300:]
                raise MeasureFailed(f"not done within {timeout_s:g} s; its log ends: {tail}")
            time.sleep(0.01)
        found: dict[str, Any] = json.loads(out.read_text())
        return found

    def crowd(self, workers: int, fill: Callable[[], object]) -> list[Path]:
        """Start workers, `fill` the list, wait until it is empty and all is settled, end them."""
        with contextlib.ExitStack() as stack:
            outs = [stack.enter_context(self.worker(100, expect=0)) for _ in range(workers)]
            self.until_workers_are_there(workers)
            fill()
            self._until(lambda: self._left() == 0, "the list is empty")
        return outs

    def _left(self) -> int:
        keys = Keys.of(QUEUE)
        return sum(
            int(n)
            for n in (
                self.client.llen(keys.queue),
                self.client.llen(keys.arrivals),
                self.client.hlen(keys.inflight),
            )
        )

    def until_a_worker_is_there(self) -> int:
        """Wait until a worker holds a lease and its blocking move; returns its process id."""
        self.until_workers_are_there(1)
        (about,) = self.client.hvals(Keys.of(QUEUE).about)
        return int(json.loads(about)["pid"])

    def until_workers_are_there(self, count: int) -> None:
        """Wait until so many workers hold leases and blocking moves."""
        about = Keys.of(QUEUE).about
        self._until(
            lambda: (
                self.client.hlen(about) == count
                and self.client.info("clients")["blocked_clients"] == count
            ),
            f"{count} workers wait for work",
        )

    def until_held(self, kind: str, count: int) -> None:
        """Wait until limits hold back so many of a type."""
        key = f"{Keys.of(QUEUE).held}:{kind}"
        self._until(lambda: self.client.llen(key) == count, f"{count} are held")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + GIVE_UP_S
        while not condition():
            if time.monotonic() > deadline:
                raise MeasureFailed(f"gave up waiting until {what}")
            time.sleep(0.02)

    def ask_until(self, out: Path, path: str, *, every_s: float, askers: int = 1) -> int:
        """GET `path` of the worker again and again until the clock has written `out`.

        `askers` ask in turn, each every `every_s`. Returns how many answers came.
        """
        url, answers = "", 0
        while not out.exists():
            time.sleep(0.02 if not url else every_s / askers)
            if not url:
                listed = self.client.hvals(Keys.of(QUEUE).about)
                where = json.loads(listed[0])["http"] if listed else ""
                url = f"http://{where}{path}" if where else ""
                continue
            with contextlib.suppress(OSError), DIRECTLY.open(url, timeout=5) as reply:
                answers += bool(reply.read())
        return answers

    def server_cpu_s(self) -> float:
        """CPU that the server has used since it started, in seconds."""
        cpu = self.client.info("cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


@contextlib.contextmanager
def open_bench(url: str) -> Iterator[Bench]:
    """A Bench with a folder of its own for logs and clocks, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="taskrig-bench-") as folder:
        bench = Bench(url, Path(folder))
        try:
            yield bench
        finally:
            bench.client.close()


def rate(clock: dict[str, Any]) -> float:
    """Tasks per second from the first handler's call to the last."""
    return float((clock["calls"] - 1) / max(clock["last"] - clock["first"], 1e-9))
