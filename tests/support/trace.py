"""How far a reader travels: which files of ours one plain task enters, from push to settled.

Runs a real worker on a real Redis in this process, pushes plain tasks to it one at a time, each
when it is idle, and follows the interpreter's calls in the event loop's thread from the push until
the outcome is counted. A *change of file* is a step from code in one of our files to code in
another; code that is not ours (asyncio, redis-py, the handler) in between does not count.

    python -m tests.support.trace [--redis-url redis://localhost:6379/0] [--list]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import redis

import taskrig
from taskrig.config.load import load_config
from taskrig.process.app import run_worker
from tests.support.servers import RedisServer

PRODUCT = str(Path(taskrig.__file__).parent) + os.sep
QUEUE = "traced"
TASKS = 21
SETTLED = ("events.py", "settled")  # when this returns, the outcome has reached Redis


@dataclass
class Journey:
    """One task's way: our files in the order in which they were entered, each step once."""

    steps: list[str] = field(default_factory=list)

    @property
    def files(self) -> set[str]:
        """The files entered."""
        return set(self.steps)

    @property
    def changes(self) -> int:
        """How often the code that ran was in another file of ours than before."""
        return len(self.steps) - 1


class Tracer:
    """Follows calls in the thread that runs `follow`, while `journey` is set."""

    def __init__(self) -> None:
        self.journey: Journey | None = None
        self.ended = threading.Event()

    def follow(self, frame: FrameType, event: str, _: Any) -> None:
        """The interpreter's profile function: a call, a return, or a coroutine's next step."""
        journey = self.journey
        if journey is None:
            return
        if event == "return":
            if self._settles(frame):
                self.journey = None
                self.ended.set()
        elif event == "call" and frame.f_code.co_filename.startswith(PRODUCT):
            name = frame.f_code.co_filename.removeprefix(PRODUCT)
            if not journey.steps or journey.steps[-1] != name:
                journey.steps.append(name)

    @staticmethod
    def _settles(frame: FrameType) -> bool:
        code = frame.f_code
        return code.co_name == SETTLED[1] and code.co_filename.endswith(os.sep + SETTLED[0])


def journeys(url: str, tasks: int = TASKS) -> list[Journey]:
    """The journeys of `tasks` plain tasks, each pushed to an idle worker on the server at `url`."""
    made: list[Journey] = []
    tracer = Tracer()
    client = redis.Redis.from_url(url)

    def push_one_by_one() -> None:
        try:
            for _ in range(tasks):
                _until_idle(client)
                tracer.ended.clear()
                made.append(Journey())
                tracer.journey = made[-1]
                client.lpush(QUEUE, '{"type": "plain"}')
                if not tracer.ended.wait(10):
                    raise TimeoutError("the task was not settled within 10 s")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    settings = {
        "redis": {"url": url},
        "queue": {"key": QUEUE},
        "http": {"enabled": False},
        "handlers": ["tests.support.plain_handler"],
        "log": {"level": "warning"},
    }
    config = load_config(env={}, framework=("trace", settings))
    threading.Thread(target=push_one_by_one, daemon=True).start()
    sys.setprofile(tracer.follow)
    try:
        run_worker(config)
    finally:
        sys.setprofile(None)
    return made


def _until_idle(client: redis.Redis) -> None:
    """Wait until the worker holds a blocking move and nothing else is under way."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        clients: Any = client.client_list()
        if any(one["cmd"] == "blmove" for one in clients):
            time.sleep(0.02)  # what followed the move's start has been done by then
            return
        time.sleep(0.005)
    raise TimeoutError("no worker waited for a task within 20 s")


@contextmanager
def _server(url: str) -> Iterator[str]:
    if url:
        yield url
    else:
        with tempfile.TemporaryDirectory() as folder:
            server = RedisServer(Path(folder))
            server.start()
            try:
                yield server.url
            finally:
                server.kill()


def main() -> int:
    """Print the shortest journey, and how long the median one is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--redis-url", default="", help="a server to use; else one is started")
    parser.add_argument("--list", action="store_true", help="list the files, and each step")
    arguments = parser.parse_args()
    with _server(arguments.redis_url) as url:
        made = journeys(url)
    # The shortest: timers of the worker that fire meanwhile make others longer.
    by_length = sorted(made, key=lambda one: one.changes)
    typical, median = by_length[0], by_length[len(made) // 2]
    files = sorted(typical.files)
    print(
        f"{len(files)} files, {typical.changes} changes of file "
        f"(the fewest of {len(made)} tasks; median {median.changes})"
    )
    if arguments.list:
        print("\n".join(files))
        print(" > ".join(typical.steps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
