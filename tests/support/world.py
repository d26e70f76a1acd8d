"""The vocabulary of the tests: a queue on a real Redis, producers, and workers as processes."""

from __future__ import annotations

import copy
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import yaml

from taskrig.keys import Keys
from tests.support.processes import WorkerProcess, kill_all_with
from tests.support.servers import free_port
from tests.support.waiting import until

LEASE_S = 1.0  # a crash shows within two of these
FOLDER = "TASKRIG_TEST_FOLDER"  # the variable that tells handlers the test's folder
FINAL = ("succeeded", "failed", "invalid", "dead")


@dataclass(frozen=True)
class Noted:
    """One line of the journal that tests/support/handlers.py keeps."""

    event: str
    id: Any
    at: float
    pid: int
    running: int


class World:
    """One queue and everybody at it. `url` names the database; `folder` is this test's own."""

    def __init__(self, url: str, folder: Path, queue: str = "async_tasks") -> None:
        self.url = url
        self.folder = folder
        self.keys = Keys.of(queue)
        self.redis = redis.Redis.from_url(url)
        self.workers: list[WorkerProcess] = []
        self.accepted = 0

    # -- producing

    def enqueue(self, type_: str, count: int = 1, *, extra: Any = None, **data: Any) -> None:
        """LPUSH `count` tasks of one type; ids 0, 1, ... are added when there are several."""
        tasks = []
        for index in range(count):
            own = {**data, "id": data.get("id", index)}
            tasks.append(json.dumps({"type": type_, "data": own, **(extra or {})}))
        self.push(*tasks)

    def push(self, *items: str | bytes, to: str = "") -> None:
        """LPUSH raw items to the queue, or to another list of it; each is counted as accepted."""
        for at in range(0, len(items), 1000):
            self.redis.lpush(to or self.keys.queue, *items[at : at + 1000])
        self.accepted += len(items)

    # -- workers

    def config(self, http_port: int, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The tests' settings, short leases, with `changes` such as {"worker": {...}} on top."""
        merged: dict[str, Any] = {
            "redis": {"url": self.url},
            "queue": {"key": self.keys.queue},
            "worker": {"lease": LEASE_S, "interval": 0.2, "drain_timeout": 5},
            "handlers": ["tests.support.handlers"],
            "http": {"port": http_port},
        }
        for section, values in (changes or {}).items():
            if isinstance(values, Mapping):
                merged.setdefault(section, {}).update(copy.deepcopy(dict(values)))
            else:
                merged[section] = values
        return merged

    def start_worker(
        self,
        name: str | None = None,
        *flags: str,
        wait: bool = True,
        concurrent: int | None = None,
        env: Mapping[str, str] | None = None,
        **config: Any,
    ) -> WorkerProcess:
        """Start `worker run` with the tests' settings; with `wait`, return when it is ready.

        Args:
            name: names its log and config file.
            flags: more of the command line.
            concurrent: worker.max_concurrent.
            env: more of the environment.
            config: sections of the config, such as worker={"lease": 3}.
        """
        name = name or f"worker{len(self.workers)}"
        port = free_port()
        settings = self.config(port, config)
        if concurrent is not None:
            settings["worker"]["max_concurrent"] = concurrent
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings))
        variables = {FOLDER: str(self.folder), **(env or {})}
        args = ["--config", str(path), *flags]
        worker = WorkerProcess(name, args, self.folder, port, variables)
        self.workers.append(worker)
        if wait:
            until(worker.ready, 20, f"{name} is ready")
        return worker

    def close(self) -> None:
        """End every worker, and what one may have left: processes of its own, or of handlers.

        Those that go on would take the tasks of the next test.
        """
        for worker in self.workers:
            worker.close()
        until(lambda: not kill_all_with(FOLDER, self.folder), what="all of the test has ended")
        self.redis.close()

    # -- looking

    def journal(self, event: str | None = None) -> list[Noted]:
        """What the handlers noted, in order; only `event` (start, end, an exception's name)."""
        path = self.folder / "journal"
        text = path.read_text() if path.exists() else ""
        lines = [line for line in text.splitlines() if line.endswith("}")]
        notes = [Noted(**json.loads(line)) for line in lines]
        return [one for one in notes if event is None or one.event == event]

    def runs(self) -> Counter[Any]:
        """How often each id was started."""
        return Counter(one.id for one in self.journal("start"))

    def open_gate(self) -> None:
        """Let the `gate` handlers end."""
        (self.folder / "open").touch()

    def totals(self) -> dict[str, int]:
        """The running totals of the queue, 0 where there is none yet."""
        found: Any = self.redis.hgetall(self.keys.stats)
        stats = {name.decode(): int(value) for name, value in found.items()}
        return {**dict.fromkeys((*FINAL, "retried", "reclaimed", "released"), 0), **stats}

    def waiting(self) -> int:
        """Tasks waiting, wherever they wait."""
        keys = self.keys
        lists = (keys.queue, keys.arrivals, keys.redeliver, *self.held_lists(), *self.other_lists())
        return sum(int(self.redis.llen(key)) for key in lists)

    def other_lists(self) -> list[str]:
        """The further lists of a queue with several, and where their moves land."""
        found: Any = self.redis.smembers(self.keys.lists)
        names = [name.decode() for name in found if name.decode() != self.keys.queue]
        return [key for name in names for key in (name, self.keys.arrivals_of(name))]

    def held_lists(self) -> list[str]:
        """The keys of tasks that a limit holds back."""
        names: Any = self.redis.smembers(self.keys.held)
        return [f"{self.keys.held}:{name.decode()}" for name in names]

    def held(self) -> int:
        """Tasks that a limit holds back."""
        return sum(int(self.redis.llen(key)) for key in self.held_lists())

    def items(self) -> list[bytes]:
        """The raw items that wait, next one first; one may stand where the blocking move lands."""
        keys = (self.keys.arrivals, self.keys.queue)
        return [raw for key in keys for raw in reversed(self.redis.lrange(key, 0, -1))]

    def in_flight(self) -> int:
        """Tasks claimed and not settled."""
        return int(self.redis.hlen(self.keys.inflight))

    def dead(self) -> list[dict[str, bytes]]:
        """The dead letters, oldest first: their fields."""
        found: Any = self.redis.xrange(self.keys.dead)
        return [{name.decode(): value for name, value in fields.items()} for _, fields in found]

    def settled(self) -> int:
        """Tasks that have ended for good."""
        totals = self.totals()
        return sum(totals[name] for name in FINAL)

    def conservation(self) -> tuple[int, int]:
        """(accepted, found): each accepted task ended, waits, is in flight or is delayed."""
        pipe = self.redis.pipeline(transaction=True)  # one instant, or a moving task is seen twice
        keys = self.keys
        pipe.hmget(keys.stats, *FINAL)
        pipe.hget(keys.stats, "followups")
        further = (*self.held_lists(), *self.other_lists())
        for key in (keys.queue, keys.arrivals, keys.redeliver, *further):
            pipe.llen(key)
        pipe.hlen(keys.inflight)
        pipe.zcard(keys.delayed)
        ended, follow_ups, *places = pipe.execute()
        found = sum(int(one or 0) for one in ended) + sum(places)
        return self.accepted + int(follow_ups or 0), found

    def assert_conserved(self) -> None:
        """The conservation check: nothing lost, nothing counted twice."""
        accepted, found = self.conservation()
        assert found == accepted, f"{accepted} accepted, {found} found: {self.totals()}"

    def all_settled(self, timeout_s: float = 20) -> None:
        """Wait until every accepted task has ended; then the conservation check."""
        until(
            lambda: self.settled() >= self.accepted + self.totals().get("followups", 0),
            timeout_s,
            lambda: f"{self.accepted} tasks settled; {self}",
        )
        self.assert_conserved()

    def __str__(self) -> str:
        return f"queue {self.keys.queue}: {self.totals()}, waiting {self.waiting()}"

    def now(self) -> float:
        """The clock of the journal, seconds."""
        return time.monotonic()
