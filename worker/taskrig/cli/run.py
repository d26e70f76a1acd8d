"""`worker run`: serve the queue until drained."""

from __future__ import annotations

import argparse
import logging
import os

from taskrig.cli.settings import load_settings
from taskrig.frame.parser import Commands, command
from taskrig.frame.settings import add_setting_flag

log = logging.getLogger("taskrig.cli")

EXAMPLES = """\
examples:
  worker run --max-concurrent 10
  worker run --redis-url redis://localhost:6379/0 --redis-key my_tasks --interval 2
  worker run --max-tasks 100 --set worker.drain_timeout=10s
  worker run --config config.yaml --log-format json

Ctrl-C, SIGTERM or SIGHUP drains: running tasks may finish within worker.drain_timeout, the rest
goes back to the queue. A second one gives back at once.
exit codes: 0 drained or --max-tasks done, 1 a loop of the worker died, 2 wrong usage or
configuration, 3 Redis out of reach"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "run",
        execute,
        about="take tasks from the queue and run their handlers (the default command)",
        examples=EXAMPLES,
    )
    for setting, metavar, text in (
        (
            "worker.max_concurrent",
            "N",
            "largest number of tasks that run concurrently (default: 5)",
        ),
        ("worker.max_tasks", "N", "end after exactly this number of tasks (default: no limit)"),
        ("worker.processes", "N", "number of worker processes under one parent (default: 1)"),
        ("worker.interval", "SECONDS", "how often an idle worker looks for tasks (default: 1)"),
        (
            "log.level",
            "LEVEL",
            "lowest level to log: debug, info, warning or error (default: info)",
        ),
        ("log.format", "FORMAT", "format of log lines: text or json (default: text)"),
    ):
        add_setting_flag(parser, setting, metavar, text)


def execute(args: argparse.Namespace) -> int:
    """Run the worker; returns its exit code."""
    config = load_settings(args)
    from taskrig.authoring.registry import load_handlers
    from taskrig.process.app import CHILD_ENV, as_child, run_worker
    from taskrig.process.task_processes import play_role
    from taskrig.runtime.logs import set_up

    set_up(config.log.level, config.log.format, debug=args.debug)
    play_role(config, lambda: load_handlers(config.handlers, config))
    if config.source is None:
        log.info("no config.yaml here: the defaults serve (worker config show lists them)")
    else:
        log.info("configured by %s", config.source)
    child = os.environ.get(CHILD_ENV)
    if child is not None:
        return run_worker(*as_child(config, child))
    if config.worker.processes > 1:
        from taskrig.process.supervisor import Supervisor

        return Supervisor(config).run()
    return run_worker(config)
