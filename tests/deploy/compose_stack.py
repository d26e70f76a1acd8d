"""The real Compose file, on a real engine, under a project name of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.local import compose, ports
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
HANDLERS = Path(__file__).parent / "container_handlers.py"

# What the tests change: a short lease, so that a killed replica's tasks are soon back; handlers
# from a file beside config.yaml, as a user adds them; a look at the health each second.
OVERRIDE = f"""
services:
  worker:
    command: [run, --set, "handlers=[taskrig.handlers, container_handlers]"]
    environment:
      TASKRIG_WORKER__LEASE: 2s
    healthcheck: {{interval: 1s, retries: 30}}
    volumes: ["{HANDLERS}:/app/container_handlers.py:ro"]
"""


def require_compose() -> None:
    """Skip where there is no engine with Compose; in CI fail."""
    why = compose.unusable()
    if why:
        assert not os.environ.get("CI"), f"CI needs Docker Compose: {why}"
        pytest.skip(why)


class Stack:
    """One Compose project, `taskrig-test-PID`: build, up, its containers and logs, close.

    `more` is another override, `profiles` are those of the Compose file to start, `password` is
    that of Redis.
    """

    def __init__(
        self, folder: Path, more: str = "", profiles: Sequence[str] = (), password: str = ""
    ) -> None:
        overrides = [folder / "override.yaml", folder / "more.yaml"]
        overrides[0].write_text(OVERRIDE)
        overrides[1].write_text(more or "{}")
        self.redis_port = ports.next_free(26379)
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        first = ports.next_free(29464)
        self.prometheus_port = ports.next_free(29090)
        self._env: Mapping[str, str] = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TASKRIG_")},
            "COMPOSE_PROJECT_NAME": f"taskrig-test-{os.getpid()}",
            "REDIS_PORT": str(self.redis_port),
            "PORT": str(first),
            "PROMETHEUS_PORT": str(self.prometheus_port),
            "LAST_PORT": str(first + 20),
            "DURATION": "15s",  # of the service `load`
            "CA_BUNDLE": compose.ca_bundle(),
        }
        if password:
            secret = folder / "redis-password"
            secret.write_text(password + "\n")
            self._env = {**self._env, "REDIS_PASSWORD_FILE": str(secret)}
            overrides.insert(0, compose.FILE.with_name("compose.password.yaml"))
            self.redis_url = f"redis://:{password}@127.0.0.1:{self.redis_port}/0"
        files = [word for path in (compose.FILE, *overrides) for word in ("-f", str(path))]
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        self._command = ["docker", "compose", *files, *chosen]

    def compose(self, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run one Compose command to its end."""
        return subprocess.run(
            [*self._command, *words],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def build(self) -> None:
        """Build the image; skip where that cannot be done (no registry), in CI fail."""
        done = self.compose("build", timeout_s=600)
        if done.returncode != 0:
            assert not os.environ.get("CI"), done.stdout + done.stderr
            pytest.skip(f"the image cannot be built here: {(done.stderr or done.stdout)[-300:]}")

    def up(self, *, workers: int = 1) -> None:
        """Start, or scale, and wait until everything is healthy."""
        done = self.compose("up", "--wait", "--no-build", "--scale", f"worker={workers}")
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()

    def workers(self) -> list[str]:
        """The ids of the worker containers, running or not."""
        return self.compose("ps", "--all", "--quiet", "worker").stdout.split()

    def logs(self) -> str:
        """All that the workers have logged."""
        return self.compose("logs", "--no-log-prefix", "worker").stdout

    def close(self) -> None:
        """Remove everything, data too."""
        self.compose("down", "--volumes", "--timeout", "5")


def docker(*words: str) -> str:
    """Run one docker command; its output, stripped. Fails the test when the command fails."""
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def inspect(container: str) -> dict[str, Any]:
    """What the engine knows of a container."""
    found: dict[str, Any] = json.loads(docker("inspect", container))[0]
    return found


def until_exited(container: str, *, timeout_s: float) -> int:
    """Wait until the container has ended; its exit code."""
    until(
        lambda: not inspect(container)["State"]["Running"],
        timeout_s=timeout_s,
        what="the container to end",
    )
    return int(inspect(container)["State"]["ExitCode"])
