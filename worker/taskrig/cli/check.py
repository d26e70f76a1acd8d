"""`worker check`: would it start? Touches nothing but the files it reads."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from taskrig.cli.settings import load_settings
from taskrig.frame.parser import Commands, command
from taskrig.texts import did_you_mean

if TYPE_CHECKING:
    from taskrig.authoring.options import Options
    from taskrig.authoring.registry import Handler, Registry
    from taskrig.config.sections import Config
    from taskrig.engine.policies import Policies, TaskPolicy

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
        about="validate the configuration, list the handlers and their settings; touch nothing",
        examples=EXAMPLES,
    )


def execute(args: argparse.Namespace) -> int:
    """Print what would serve which task types, and how; returns 0."""
    config = load_settings(args)
    from taskrig.authoring.registry import load_handlers
    from taskrig.engine.policies import Policies

    with _warnings() as warnings:
        registry = load_handlers(config.handlers, config)
    entries, policies = registry.entries(), Policies(registry, config.tasks)
    policies.in_processes()
    policies.batched()
    print(f"config    {config.source or 'no file; the defaults serve'}")
    print(f"redis     {config.redis.masked_url()}")
    print(f"queue     {config.queue.told}")
    print(f"at once   {config.worker.max_concurrent}")
    print("handlers")
    width = max([12, *(len(entry.type) for entry in entries)])
    for entry in entries:
        policy = policies.find(entry.type)
        assert policy is not None  # each handler has one
        _print_type(entry, policy, width)
    if registry.find("") is None:
        print(f"  {'any other':<{width}}  a dead letter, reason no_handler")
    _print_schedule(config)
    _print_notes(config, registry, policies)
    for text in warnings:
        print(f"note      {text}")
    print("good")
    return 0


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What is logged meanwhile, which a worker would log at its start."""
    texts: list[str] = []
    kept = logging.Handler(logging.WARNING)
    kept.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("taskrig")
    log.addHandler(kept)
    try:
        yield texts
    finally:
        log.removeHandler(kept)


def _print_notes(config: Config, registry: Registry, policies: Policies) -> None:
    """What may be a mistake, and stops nothing."""
    from taskrig.cron import parse_line

    types = [entry.type for entry in registry.entries()]
    for name in config.tasks:
        if name not in types:
            print(f"note      tasks.{name}: no handler has this type{did_you_mean(name, types)}")
            _print_default(policies.find(name))
    for entry in map(parse_line, config.schedule):
        kind = str(entry.task["type"])
        if registry.find(kind) is None:
            print(
                f"note      schedule {entry.name}: no handler has the type {kind!r}"
                f"{registry.hint(kind)}"
            )
    for one in registry.not_served.values():
        print(
            f"note      {one.name} ({one.place}) takes {one.type!r}, but handlers does not name "
            "its module"
        )


def _print_type(entry: Handler, policy: TaskPolicy, width: int) -> None:
    from taskrig.authoring.options import LOOP
    from taskrig.units import duration_text

    options = policy.options
    limit = f"timeout {duration_text(options.timeout_s)}" if options.timeout_s else "no timeout"
    where = "the event loop" if policy.run_in == LOOP else f"a {policy.run_in}"
    print(f"  {entry.type:<{width}}  {limit:<14}  {entry.name}({entry.takes}), in {where}")
    if entry.dry_run:
        print(f"  {'':<{width}}  dry run: {entry.dry_run}")
    more = _settings(options)
    if more:
        print(f"  {'':<{width}}  {', '.join(more)}")


def _print_default(policy: TaskPolicy | None) -> None:
    """What the config says of a type that only the default handler takes holds for it too."""
    if policy is not None:
        more = _settings(policy.options, timeout=True)
        how = f" with {', '.join(more)}" if more else ""
        print(f"          {policy.handler.name} takes it{how}")


def _settings(options: Options, *, timeout: bool = False) -> list[str]:
    """The settings that are not as by default, by their names in config.yaml."""
    from taskrig.authoring.options import BACKOFF_MAX_S, BACKOFF_S
    from taskrig.units import duration_text, size_text

    usual = {"retries": 0, "backoff_s": BACKOFF_S, "backoff_max_s": BACKOFF_MAX_S, "unique": False}
    texts = []
    for field in fields(options):
        value = getattr(options, field.name)
        if value is None or value == usual.get(field.name):
            continue
        if field.name == "run_in" or (field.name == "timeout_s" and not timeout):
            continue  # has a place of its own
        name = field.name.removesuffix("_s")
        if name == "memory":
            value = size_text(value)
        shown = duration_text(value) if name != field.name else "yes" if value is True else value
        texts.append(f"{name} {shown}")
    return texts


def _print_schedule(config: Config) -> None:
    if not config.schedule:
        return
    print(
        f"schedule  (a missed time is enqueued late, but only within "
        f"{_grace(config)}, worker.schedule_grace)"
    )
    from taskrig.cron import parse_line

    for line in config.schedule:
        entry = parse_line(line)
        at = entry.next_after(time.time())
        when = "never" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
        print(f"  {line.strip()}")
        print(f"    next: {when}")


def _grace(config: Config) -> str:
    from taskrig.units import duration_text

    return duration_text(config.worker.schedule_grace_s)
