"""RQ: one job at a time; its SimpleWorker does not fork for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.peer import PLAIN, PROCESS, Peer, url


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    several = ["worker-pool", "--num-workers", str(slots)] if form == PROCESS else ["worker"]
    return [
        *(str(folder / "bin" / "rq"), *several, "--worker-class", "rq.worker.SimpleWorker"),
        *("--quiet", "--logging-level", "ERROR", "--url", url, "bench"),
    ]


PEER = Peer(
    name="RQ",
    packages=("rq", "hiredis"),
    durability="a killed worker's job is moved to the failed ones after its lease, or retried",
    setup="SimpleWorker (no fork a job), result_ttl=0, Retry(3)",
    slots="one at a time",
    forms=(PLAIN, PROCESS),
    command=_command,
    drain_tasks=1_000,
)


class _Producer:
    def __init__(self) -> None:
        from redis import Redis
        from rq import Queue, Retry

        self._redis = Redis.from_url(url())
        self._queue: Any = Queue("bench", connection=self._redis)
        self._retry = Retry(max=3)

    async def one(self, kind: str, value: float) -> None:
        self._queue.enqueue(work.SYNC[kind], value, result_ttl=0, retry=self._retry)

    async def many(self, kind: str, values: Sequence[float]) -> None:
        from rq import Queue

        body = work.SYNC[kind]
        for start in range(0, len(values), 500):
            self._queue.enqueue_many(
                [
                    Queue.prepare_data(body, (v,), result_ttl=0, retry=self._retry)
                    for v in values[start : start + 500]
                ]
            )

    async def close(self) -> None:
        self._redis.close()


async def open_producer() -> _Producer:
    """A producer."""
    return _Producer()
