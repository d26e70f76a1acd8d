"""`manage.py async_command`: a worker inside your Django project."""

from __future__ import annotations

import logging
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper

from taskrig.errors import TaskrigError, UsageError
from taskrig.runtime import early

FLAGS = {
    "redis_key": ("queue.key", "KEY", "the list of tasks (default: async_tasks)"),
    "interval": ("worker.interval", "SECONDS", "an idle worker looks again after this (1)"),
    "max_tasks": ("worker.max_tasks", "N", "stop after exactly this many tasks (no limit)"),
    "max_concurrent": ("worker.max_concurrent", "N", "tasks that run at once (5)"),
    "redis_url": ("redis.url", "URL", "where Redis is (settings.TASKRIG)"),
}


class Command(BaseCommand):
    """Runs tasks until it is told to stop."""

    help = "Take tasks from the Redis list and run their handlers. Ctrl-C drains, then ends."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """The worker's flags, by their names."""
        for name, (_, metavar, text) in FLAGS.items():
            parser.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run; raises CommandError, or SystemExit with the worker's exit code when it is not 0."""
        early.end_at_once(0, "async_command")
        # Imported only now: it takes a while, and a signal may come meanwhile.
        from taskrig.authoring.registry import Registry, load_handlers
        from taskrig.contrib.django.configured import config_of_settings
        from taskrig.contrib.django.connections import look_after_connections
        from taskrig.contrib.django.own_tasks import with_own_tasks
        from taskrig.process.app import App
        from taskrig.process.ending import end_within
        from taskrig.process.task_processes import launcher_for, play_role
        from taskrig.runtime.logs import set_up, stay_seen, unblock

        unblock()
        if options.get("stderr") is None:  # what this command has kept may block
            self.stderr = OutputWrapper(sys.stderr)
            self.stderr.style_func = self.style.ERROR
        flags = {FLAGS[name][0]: options[name] for name in FLAGS if options[name] is not None}
        try:
            config = config_of_settings(flags)
            if config.worker.processes > 1:
                raise UsageError("worker.processes is for `worker run`; start this command N times")
            whole = not settings.LOGGING and not logging.getLogger().handlers
            debug = bool(options["traceback"])
            set_up(config.log.level, config.log.format, debug=debug, whole=whole)

            def load() -> Registry:
                registry = load_handlers(with_own_tasks(config.handlers), config)
                stay_seen()
                look_after_connections(registry)
                return registry

            play_role(config, load)
            registry = load()
            code = App(config, registry, {}, launcher_for(config, registry)).run()
        except TaskrigError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error
        if self._called_from_command_line:
            end_within(code)
        if code:
            sys.exit(code)
