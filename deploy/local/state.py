"""What was asked for and what was started: the settings, and `.run/state.json`."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.local.processes import CannotStart, Process

ROOT = Path(__file__).resolve().parents[2]
RUN = Path(os.environ.get("RUN_DIR") or ROOT / ".run")  # elsewhere for tests


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `make up` was asked for.

    `port` is the first worker's HTTP port (natively the others count up from it).
    `max_concurrent` None leaves it to config.yaml. `how` is auto, compose or native.
    `profiles` None: nothing was said of them.
    """

    how: str = "auto"
    redis_port: int = 6379
    port: int = 9464
    prometheus_port: int = 9090
    grafana_port: int = 3000
    workers: int = 1
    max_concurrent: int | None = None
    profiles: tuple[str, ...] | None = None

    def worker_settings(self) -> dict[str, str]:
        """Environment of the worker for what differs from config.yaml."""
        if self.max_concurrent is None:
            return {}
        return {"TASKRIG_WORKER__MAX_CONCURRENT": str(self.max_concurrent)}


@dataclass(slots=True, kw_only=True)
class State:
    """What runs: `how` is compose, native or empty (nothing was started).

    `last_port`: the last of the workers' ports in Compose; see `compose.up`.
    `asked`: with what it was started; it holds until `make down`.
    """

    how: str = ""
    redis_port: int = 6379
    last_port: int = 0
    asked: Settings | None = None
    server: str = ""
    processes: list[Process] = field(default_factory=list)

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    def find(self, name: str) -> Process | None:
        """The live process of that name, if we started one."""
        return next((p for p in self.processes if p.name == name and p.alive()), None)

    def keep(self, process: Process) -> None:
        """Remember `process` in place of any other of its name, on disk at once."""
        self.processes = [p for p in self.processes if p.name != process.name] + [process]
        self.save()

    def save(self) -> None:
        """Write the file whole or not at all."""
        RUN.mkdir(parents=True, exist_ok=True)
        fresh = RUN / "state.json.new"
        fresh.write_text(json.dumps(asdict(self), indent=1) + "\n")
        os.replace(fresh, RUN / "state.json")

    @classmethod
    def load(cls) -> State:
        """What the last `make up` left; an empty state when there is none.

        Raises:
            CannotStart: the file is not ours to read.
        """
        path = RUN / "state.json"
        try:
            kept = json.loads(path.read_text())
            kept["processes"] = [Process(**process) for process in kept["processes"]]
            if asked := kept.get("asked"):
                chosen = asked["profiles"]
                asked["profiles"] = None if chosen is None else tuple(chosen)
                kept["asked"] = Settings(**asked)
            state = cls(**kept)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CannotStart(
                f"{path}: cannot be read ({error}); remove it and try again"
            ) from None
        if state.how == "native" and not any(process.alive() for process in state.processes):
            state.how = ""  # the machine was restarted, or all of it was killed
        return state


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock of `.run/`: two `make up` at once must not start everything twice.

    Raises:
        CannotStart: another one is at it.
    """
    RUN.mkdir(parents=True, exist_ok=True)
    with (RUN / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart("another make up, down or demo is at work here; try again") from None
        yield
