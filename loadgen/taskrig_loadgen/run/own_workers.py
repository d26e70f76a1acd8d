"""Workers that loadgen starts for itself, on a queue of their own, and ends again."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from taskrig.broker import QueueCommands
from taskrig.errors import TaskrigError
from taskrig.keys import Keys, prefix
from taskrig_loadgen.connection import clear_errors, connected
from taskrig_loadgen.queueview import look

if TYPE_CHECKING:
    from taskrig.config.sections import Config

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 40.0


class WorkerDidNotStart(TaskrigError):
    """A worker that loadgen started ended, or was not there in time; its last line is shown."""


def own_queue(config: Config, what: str) -> Config:
    """The same config with a queue of its own, under the same ACL pattern and hash slot."""
    key = f"{prefix(config.queue.key)}:{what}:{secrets.token_hex(4)}"
    return with_key(config, key)


def with_key(config: Config, key: str) -> Config:
    """The same config with another queue key, and no other lists."""
    queue = config.queue.model_copy(update={"key": key, "lists": ()})
    return config.model_copy(update={"queue": queue})


@asynccontextmanager
async def own_worker(
    config: Config,
    slots: int,
    *,
    config_file: str | None = None,
    sets: Sequence[str] = (),
    port: int = 0,
) -> AsyncIterator[None]:
    """A worker with `slots` slots on the config's queue, alive inside the block.

    Args:
        config_file: what --config named, so that the worker finds the same handlers.
        sets: what --set gave.
        port: of its HTTP endpoints; 0 takes any.

    Raises:
        WorkerDidNotStart: it ended, or had no lease within 20 s.
    """
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *_command(config, slots, config_file, [*sets, f"http.port={port}"]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(config),
            start_new_session=True,  # Ctrl-C is for loadgen; it ends its workers itself
        )
        try:
            await _until_alive(config, process, log)
            yield
        finally:
            await _end(process)


def _command(config: Config, slots: int, file: str | None, sets: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "taskrig", "run"]
    if file is not None:
        command += ["--config", file]
    for one in sets:
        command += ["--set", one]
    command += ["--redis-key", config.queue.key, "--max-concurrent", str(slots)]
    lists = json.dumps(list(config.queue.lists))  # those of the file may belong to another key
    return [*command, "--set", f"queue.lists={lists}", "--set", "log.tasks=none"]


def _environment(config: Config) -> dict[str, str]:
    # By the environment: others may read a command line, and a URL may hold a password.
    return {**os.environ, "TASKRIG_REDIS__URL": config.redis.url}


async def _until_alive(config: Config, process: asyncio.subprocess.Process, log: Any) -> None:
    commands, deadline = QueueCommands(config), time.monotonic() + START_TIMEOUT_S
    async with connected(config) as client:
        while True:
            with clear_errors(config):
                view = await look(client, commands)
            if any(one.pid == process.pid for one in view.workers):
                return
            if process.returncode is not None:
                raise WorkerDidNotStart(f"the worker for this test ended: {_last_line(log)}")
            if time.monotonic() > deadline:
                raise WorkerDidNotStart(f"no worker within 20 s; its last line: {_last_line(log)}")
            await asyncio.sleep(0.02)


def _last_line(log: Any) -> str:
    log.seek(0)
    lines: list[bytes] = log.read()[-2000:].splitlines()
    return lines[-1].decode(errors="replace") if lines else "(it said nothing)"


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def forget_queue(config: Config, run_ids: Iterable[str] = ()) -> None:
    """Delete every key of a queue that was only ours."""
    keys = Keys.of(config.queue.key)
    names = [getattr(keys, name) for name in Keys.__dataclass_fields__]
    async with connected(config) as client:
        with clear_errors(config):
            await client.delete(*names, *map(keys.run, run_ids))
