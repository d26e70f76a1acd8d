"""Runs one peer at a time against one server: its worker, its producer, and what they measured."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import Environments
from benchmarks.peers.peer import Peer, load_peer
from benchmarks.peers.rounds import MeasureFailed
from benchmarks.peers.server import connect

ROOT = Path(__file__).resolve().parents[2]
SOURCES = os.pathsep.join(str(ROOT / folder) for folder in ("", "worker", "loadgen"))
PUSH_S = 180.0


class Field:
    """The ground all peers are measured on. `databases` keep those apart that run at once."""

    def __init__(self, url: str, environments: Environments, folder: Path) -> None:
        self.environments = environments
        self._server = url.rpartition("/")[0]
        self._folder = folder
        self._runs = 0

    def peer(self, name: str) -> Peer:
        """The adapter's description."""
        return load_peer(name)

    def clear(self, database: int = 0) -> None:
        """Empty a database."""
        with connect(f"{self._server}/{database}") as client:
            client.flushdb()

    def push(
        self,
        name: str,
        kind: str,
        count: int,
        how: str,
        values: str = "0",
        *,
        database: int = 0,
        form: str = "",
    ) -> float:
        """Put tasks on the queue in the peer's own way; returns tasks/s."""
        peer = self.peer(name)
        folder = self.environments.of(name, peer)
        if peer.is_python:
            python = str(folder / "bin" / "python")
            words = [python, "-m", "benchmarks.peers.inside", name, "push", kind, str(count), how]
        else:
            words = ["node", str(folder / "bullmq.mjs"), "push", kind, str(count), how]
        try:
            done = subprocess.run(
                [*words, values],
                cwd=self._folder,
                env=self._env(folder, 1, database, 0, "", form or peer.forms[0]),
                capture_output=True,
                text=True,
                timeout=PUSH_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MeasureFailed(f"pushing took more than {PUSH_S:g} s") from None
        if done.returncode:
            raise MeasureFailed("pushing failed: " + " ".join(done.stderr.split())[-300:])
        said = json.loads(done.stdout.strip().splitlines()[-1])
        return float(said["count"] / said["took_s"])

    @contextlib.contextmanager
    def worker(
        self,
        name: str,
        slots: int,
        expect: int,
        *,
        database: int = 0,
        out: Path | None = None,
        form: str = "",
    ) -> Iterator[Run]:
        """The peer's worker for handlers of one form (its usual one), ended for sure with all its
        children."""
        peer = self.peer(name)
        folder = self.environments.of(name, peer)
        self._runs += 1
        out = out or self._folder / f"{name}-{self._runs}.json"
        form = form or peer.forms[0]
        command = peer.command(folder, slots, f"{self._server}/{database}", form)
        log_path = out.with_suffix(".log")
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._env(folder, slots, database, expect, str(out), form),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        run = Run(process, out, log_path)
        try:
            yield run
        finally:
            run.kill()

    def fresh_out(self, name: str) -> Path:
        """A file name that no clock has written."""
        self._runs += 1
        return self._folder / f"{name}-{self._runs}.json"

    def _env(
        self, folder: Path, slots: int, database: int, expect: int, out: str, form: str
    ) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TASKRIG_")}
        return kept | {
            "PATH": os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", "")]),
            "PYTHONPATH": SOURCES,
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "PEER_URL": f"{self._server}/{database}",
            "PEER_SLOTS": str(slots),
            "PEER_FORM": form,
            "CLOCK_EXPECT": str(expect),
            "CLOCK_OUT": out,
        }


class Run:
    """A worker under way."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, log: Path) -> None:
        self._process = process
        self._log = log
        self.out = out
        self.starts = Path(f"{out}.starts")

    def clock(self, timeout_s: float) -> dict[str, Any]:
        """What the clock wrote; raises MeasureFailed when it has not within `timeout_s`."""
        self._until(self.out.exists, timeout_s)
        found: dict[str, Any] = json.loads(self.out.read_text())
        return found

    def started(self, times: int, timeout_s: float) -> float:
        """When the hanging task was called for the n-th time, monotonic seconds."""
        self._until(lambda: len(self._starts()) >= times, timeout_s)
        return self._starts()[times - 1]

    def _starts(self) -> list[float]:
        try:
            return [float(line) for line in self.starts.read_text().split()]
        except OSError:
            return []

    def _until(self, condition: Any, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                what = "its worker ended" if ended else f"not within {timeout_s:g} s"
                tail = " ".join(self._log.read_text(errors="replace").split())[-300:]
                raise MeasureFailed(f"{what}; its log ends: {tail or '(empty)'}")
            time.sleep(0.01)

    def kill(self) -> None:
        """kill -9 for the worker and its children: the process group that was made for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def open_field(url: str, environments: Environments) -> Iterator[Field]:
    """A Field with a folder of its own for logs and clocks, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="taskrig-peers-") as folder:
        yield Field(url, environments, Path(folder))
