"""Workers that faults may kill, freeze and end; a supervisor starts them again.

The processes get a config file of our own, so that leases are short and handlers are known.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from taskrig.errors import TaskrigError

RESTART_AFTER_S = 0.3  # a supervisor that is quick
_LOOK_EVERY_S = 0.05
_END_WITHIN_S = 20.0
_START = 19  # in /proc/PID/stat, of the fields after the name: when it started


class FleetBroken(TaskrigError):
    """Workers end by themselves right after their start; the message holds the last line."""


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """How many workers, with which settings."""

    workers: int
    concurrent: int
    lease_s: float
    redis_url: str
    queue: str

    def config(self) -> dict[str, object]:
        """The config file of every worker."""
        return {
            "redis": {"url": self.redis_url, "max_outage": "5m", "socket_timeout": "2s"},
            "queue": {"key": self.queue},
            "worker": {
                "max_concurrent": self.concurrent,
                "lease": self.lease_s,
                "interval": 0.5,
                "drain_timeout": 2,
                # Faults kill on purpose: the tasks are no poison, however often they are hit.
                "max_deliveries": 50,
            },
            "handlers": ["taskrig_loadgen.chaos.tasks"],
            "log": {"tasks": "failures"},
            "http": {"port": 0},
        }


class Fleet:
    """The workers of one chaos run."""

    def __init__(self, plan: FleetPlan, folder: Path) -> None:
        """`folder` gets the config file and each worker's log."""
        self.plan = plan
        self.folder = folder
        self.started = 0
        self.unexpected: list[str] = []  # ends that no fault asked for
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._names: dict[int, str] = {}
        self._asked: set[int] = set()  # pids that a fault has killed, or asked to end
        self._stopping = False
        self._config = folder / "worker.yaml"

    def start(self) -> None:
        """Start every worker."""
        self._config.write_text(yaml.safe_dump(self.plan.config()))
        for _ in range(self.plan.workers):
            self._start_one()

    def _start_one(self) -> None:
        self.started += 1
        name = f"worker-{self.started}"
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "taskrig", "run", "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={k: v for k, v in os.environ.items() if not k.startswith("TASKRIG_")},
                start_new_session=True,  # Ctrl-C is for loadgen; it ends its workers itself
            )
        self._processes[process.pid] = process
        self._names[process.pid] = name

    async def supervise(self) -> None:
        """Restart workers that have ended, until `stop`; note those that were not told to end.

        Raises:
            FleetBroken: workers keep ending by themselves.
        """
        while not self._stopping:
            for pid, process in list(self._processes.items()):
                if process.poll() is not None:
                    del self._processes[pid]
                    self._note_end(pid, process.returncode)
                    await asyncio.sleep(RESTART_AFTER_S)
                    if not self._stopping:
                        self._start_one()
            if len(self.unexpected) >= 5:
                raise FleetBroken(f"workers keep ending: {self.unexpected[-1]}")
            await asyncio.sleep(_LOOK_EVERY_S)

    def _note_end(self, pid: int, code: int) -> None:
        if pid in self._asked:
            return
        lines = (self.folder / f"{self._names[pid]}.log").read_text(errors="replace").splitlines()
        last = lines[-1] if lines else "(it said nothing)"
        self.unexpected.append(f"{self._names[pid]} ended by itself with {code}: {last}")

    def pick(self, rng: random.Random) -> int | None:
        """The pid of a running worker that no fault has been asked to end."""
        pids = [pid for pid, p in self._processes.items() if p.poll() is None]
        return rng.choice(pids) if pids else None

    def children(self) -> list[int]:
        """The pids of processes that handlers forked; empty on systems without /proc.

        A worker's first child is its own: it makes the processes for tasks.
        """
        found: dict[int, list[tuple[int, int]]] = {}  # worker -> (start, pid) of each
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, parent, *more = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if state != "Z" and int(parent) in self._processes:
                born = int(more[_START - 2]), int(stat.parent.name)
                found.setdefault(int(parent), []).append(born)
        return [pid for born in found.values() for _, pid in sorted(born)[1:]]

    def name(self, pid: int) -> str:
        """What a worker is called in logs and reports."""
        return self._names[pid]

    def kill(self, pid: int) -> None:
        """kill -9."""
        self._asked.add(pid)
        self._processes[pid].kill()

    def terminate(self, pid: int) -> None:
        """SIGTERM: it drains."""
        self._asked.add(pid)
        self._processes[pid].terminate()

    def freeze(self, pid: int) -> None:
        """SIGSTOP."""
        self._processes[pid].send_signal(signal.SIGSTOP)

    def thaw(self, pid: int) -> None:
        """SIGCONT; nothing when it is gone."""
        process = self._processes.get(pid)
        if process is not None:
            process.send_signal(signal.SIGCONT)

    def ended(self, pid: int) -> bool:
        """Whether this process is over."""
        process = self._processes.get(pid)
        return process is None or process.poll() is not None

    def stop(self) -> None:
        """End every worker, by force where it must be."""
        self._stopping = True
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        deadline = time.monotonic() + _END_WITHIN_S
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
