"""`worker check`: would it start? Touches nothing but the files it reads."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from worker.cli.parser import Commands, command, did_you_mean
from worker.cli.settings import load_settings

if TYPE_CHECKING:
    from worker.config import Config

EXAMPLES = """\
examples:
  worker check
  worker check --config config.yaml --set worker.max_concurrent=10
exit codes: 0 good, 2 the configuration or a handler is wrong (every problem is listed)"""


def add(commands: Commands) -> None:
    """Add the command."""
    command(
        commands,
        "check",
        execute,
        help="validate the configuration and list the handlers; touch nothing",
        examples=EXAMPLES,
    )


def execute(args: argparse.Namespace) -> int:
    """Print what would serve which task types; returns 0."""
    config = load_settings(args)
    from worker.config.quantities import duration
    from worker.registry import load_handlers

    entries = load_handlers(config.handlers, config).entries()
    print(f"config    {config.source or 'no file; the defaults serve'}")
    print(f"redis     {config.redis.masked_url()}")
    print(f"queue     {config.queue.told}")
    print(f"at once   {config.worker.max_concurrent}")
    print("handlers")
    width = max([12, *(len(entry.type) for entry in entries)])
    for entry in entries:
        timeout_s = _timeout_s(config, entry)
        limit = f"timeout {duration(timeout_s)}" if timeout_s else "no timeout"
        how = ", in a thread" if entry.is_sync else ""
        print(f"  {entry.type:<{width}}  {limit:<14}  {entry.module}{how}")
    types = [entry.type for entry in entries]
    for task in config.tasks:
        if task not in types:
            print(f"note      tasks.{task}: no handler has this type{did_you_mean(task, types)}")
    print("good")
    return 0


def _timeout_s(config: Config, entry: Any) -> float | None:
    """The limit in seconds that holds: the config's goes before the decorator's."""
    task = config.tasks.get(entry.type)
    if task is not None and task.timeout_s is not None:
        return task.timeout_s
    timeout_s: float | None = entry.options.timeout_s
    return timeout_s
