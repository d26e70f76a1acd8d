"""BullMQ: Node.js, jobs in hashes moved between lists by scripts; all in bullmq.mjs."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.peer import AT_LEAST_ONCE, COROUTINE, Peer

SCRIPT = "bullmq.mjs"


def _command(folder: Path, slots: int, url: str, form: str) -> list[str]:
    return ["node", str(folder / SCRIPT), "work"]


PEER = Peer(
    name="BullMQ (Node.js)",
    packages=("bullmq", "ioredis"),
    durability=f"{AT_LEAST_ONCE}; stalled jobs are looked for every 30 s",
    setup="removeOnComplete",
    slots="asyncio",
    forms=(COROUTINE,),
    command=_command,
    drain_tasks=20_000,
    is_python=False,
)
