"""`worker check`: would it start? Touches nothing but the files it reads."""

from __future__ import annotations

import argparse
import time
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.cli.parser import Commands, command, did_you_mean
from worker.cli.settings import load_settings

if TYPE_CHECKING:
    from worker.config import Config
    from worker.options import Options
    from worker.plan import Plan
    from worker.registry import Handler

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
        help="validate the configuration, list the handlers and their settings; touch nothing",
        examples=EXAMPLES,
    )


def execute(args: argparse.Namespace) -> int:
    """Print what would serve which task types, and how; returns 0."""
    config = load_settings(args)
    from worker.plan import Plans
    from worker.registry import load_handlers

    registry = load_handlers(config.handlers, config)
    entries, plans = registry.entries(), Plans(registry, config.tasks)
    print(f"config    {config.source or 'no file; the defaults serve'}")
    print(f"redis     {config.redis.masked_url()}")
    print(f"queue     {config.queue.told}")
    print(f"at once   {config.worker.max_concurrent}")
    print("handlers")
    width = max([12, *(len(entry.type) for entry in entries)])
    for entry in entries:
        plan = plans.find(entry.type)
        assert plan is not None  # each handler has one
        _print_type(entry, plan.options, width)
    _print_schedule(config)
    types = [entry.type for entry in entries]
    for task in config.tasks:
        if task not in types:
            print(f"note      tasks.{task}: no handler has this type{did_you_mean(task, types)}")
            _print_default(plans.find(task))
    print("good")
    return 0


def _print_type(entry: Handler, options: Options, width: int) -> None:
    from worker.config.quantities import duration

    limit = f"timeout {duration(options.timeout_s)}" if options.timeout_s else "no timeout"
    how = ", in a thread" if entry.is_sync else ""
    print(f"  {entry.type:<{width}}  {limit:<14}  {entry.module}{how}")
    more = _settings(options)
    if more:
        print(f"  {'':<{width}}  {', '.join(more)}")


def _print_default(plan: Plan | None) -> None:
    """What the config says of a type that only the default handler takes holds for it too."""
    if plan is not None:
        more = _settings(plan.options, timeout=True)
        how = f" with {', '.join(more)}" if more else ""
        print(f"          {plan.handler.module} takes it{how}")


def _settings(options: Options, *, timeout: bool = False) -> list[str]:
    """The settings that are not as by default, by their names in config.yaml."""
    from worker.config.quantities import duration
    from worker.options import BACKOFF_MAX_S, BACKOFF_S

    usual = {"retries": 0, "backoff_s": BACKOFF_S, "backoff_max_s": BACKOFF_MAX_S, "unique": False}
    texts = []
    for field in fields(options):
        value = getattr(options, field.name)
        if value is None or value == usual.get(field.name):
            continue
        if field.name == "timeout_s" and not timeout:
            continue  # has a column of its own
        name = field.name.removesuffix("_s")
        shown = duration(value) if name != field.name else "yes" if value is True else value
        texts.append(f"{name} {shown}")
    return texts


def _print_schedule(config: Config) -> None:
    if not config.schedule:
        return
    print(f"schedule  (a time that was missed is made up for within "
          f"{_grace(config)}, worker.schedule_grace)")  # fmt: skip
    from worker.schedule import parse_line

    for line in config.schedule:
        entry = parse_line(line)
        at = entry.next_after(time.time())
        when = "never" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
        print(f"  {line.strip()}")
        print(f"    next: {when}")


def _grace(config: Config) -> str:
    from worker.config.quantities import duration

    return duration(config.worker.schedule_grace_s)
