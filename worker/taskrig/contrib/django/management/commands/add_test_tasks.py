"""`manage.py add_test_tasks`: seven tasks to try the worker with, or an empty queue again."""

from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from taskrig.broker import Producer
from taskrig.contrib.django.configured import config_of_settings
from taskrig.errors import TaskrigError

MIX = ("fast_task",) * 3 + ("medium_task",) * 2 + ("slow_task",) * 2


class Command(BaseCommand):
    """Fills or empties the queue."""

    help = "Add seven test tasks (three fast, two medium, two slow), or clear the queue."

    def add_arguments(self, parser: CommandParser) -> None:
        """--action and the queue."""
        parser.add_argument("--action", choices=("add", "clear"), default="add")
        parser.add_argument("--redis-key", metavar="KEY", help="the list of tasks")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; raises CommandError."""
        flags = {"queue.key": options["redis_key"]} if options["redis_key"] is not None else {}
        try:
            producer = Producer(config_of_settings(flags))
            if options["action"] == "clear":
                gone = producer.clear()
                self.stdout.write(f"{gone} waiting tasks removed from {producer.queue}")
                return
            now = time.time()
            tasks = [
                {"type": kind, "data": {"id": n}, "enqueued_at": now}
                for n, kind in enumerate(MIX, 1)
            ]
            producer.push([json.dumps(task).encode() for task in tasks])
            self.stdout.write(f"{len(tasks)} tasks added to {producer.queue}")
        except TaskrigError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error
