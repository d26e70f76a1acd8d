"""The real command as a process: `python -m taskrig ...`, started, signalled and read by tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
MODULES = {"worker": "taskrig", "loadgen": "taskrig_loadgen"}  # a program, and its package


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a program under test: ours, without settings of the person at it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKRIG_")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(extra or {})}


def run_to_end(
    program: str, *args: str, cwd: Path, timeout_s: float = 20, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end; stdout and stderr as text."""
    return subprocess.run(
        [sys.executable, "-m", MODULES.get(program, program), *args],
        cwd=cwd,
        env=environment(env),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )


def kill_all_with(name: str, value: object) -> int:
    """SIGKILL every process that was started with this variable; how many there were (Linux)."""
    mark, found = f"{name}={value}".encode(), 0
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes().split(b"\0"):
                os.kill(int(environ.parent.name), signal.SIGKILL)
                found += 1
        except OSError:  # it has ended, or is another user's
            continue
    return found


class WorkerProcess:
    """A worker that runs as people run it; its output goes to a file that `log` reads."""

    def __init__(
        self, name: str, args: Sequence[str], folder: Path, http_port: int, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.http_port = http_port
        self._log_path = folder / f"{name}.log"
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "taskrig", "run", *args],
                cwd=folder,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def log(self) -> str:
        """All that the worker has printed and logged."""
        return self._log_path.read_text(errors="replace")

    def logged(self, text: str, timeout_s: float = 10) -> str:
        """Wait until `text` is in the log; return the log."""
        until(lambda: text in self.log(), timeout_s, f"{text!r} in the log of {self.name}")
        return self.log()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """SIGTERM: the worker is to drain."""
        self.signal(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        self._process.kill()
        self._process.wait(10)

    def exit_code(self, timeout_s: float = 10) -> int:
        """Wait for the end and return the exit code; the log is in the error when it is late."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} has not ended within {timeout_s:g} s; its log ends:\n"
                + self.log()[-2000:]
            ) from None

    def ends_well(self, timeout_s: float = 10) -> None:
        """Wait for the end; it must be exit code 0."""
        code = self.exit_code(timeout_s)
        assert code == 0, f"{self.name} ended with {code}; its log ends:\n{self.log()[-2500:]}"

    def drain(self, timeout_s: float = 15) -> int:
        """SIGTERM, then wait for the end; the exit code."""
        self.terminate()
        return self.exit_code(timeout_s)

    def get(self, path: str, timeout_s: float = 2) -> tuple[int, str]:
        """GET a page of its HTTP port: status and text; (0, reason) when nothing answers."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=timeout_s) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def status(self) -> dict[str, Any]:
        """The status page."""
        code, text = self.get("/status")
        assert code == 200, (code, text)
        found: dict[str, Any] = json.loads(text)
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series on /metrics; the sum when several match `labels`."""
        code, text = self.get("/metrics")
        assert code == 200, (code, text)
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.split("{")[0].split(" ")[0] == name and all(one in line for one in wanted)
        ]
        assert found, f"no series {name} {labels}"
        return sum(found)

    def ready(self) -> bool:
        """Whether /readyz says yes; raises AssertionError when the process has ended."""
        if not self.alive:
            raise AssertionError(f"{self.name} ended at its start; its log:\n{self.log()[-2000:]}")
        return self.get("/readyz")[0] == 200

    def most_memory(self) -> int:
        """The most bytes that were ever resident (Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def threads(self) -> int:
        """How many threads the process has (Linux)."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def close(self) -> None:
        """End it whatever its state."""
        if self.alive:
            self._process.kill()
        self._process.wait(10)
