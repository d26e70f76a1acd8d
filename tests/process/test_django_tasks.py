"""Django's own tasks (from Django 6.0) on our backend, with the real management commands."""

from __future__ import annotations

import json
import subprocess

import pytest

from taskrig.contrib.django.own_tasks import RUNNING, with_own_tasks
from tests.process.test_django import Shop
from tests.support.waiting import until

django = pytest.importorskip("django", minversion="6.0", reason="django.tasks is in Django 6.0")

SETTINGS = """
TASKS = {"default": {
    "BACKEND": "taskrig.contrib.django.TaskrigBackend",
    "QUEUES": ["default", "urgent", "bulk"],
    "OPTIONS": {"RESULT_TTL": 600},
}}
TASKRIG["queue"]["lists"] = ["urgent", "async_tasks", "bulk"]
"""

OWN = """
from django.core.exceptions import ValidationError
from django.tasks import task

from taskrig import context as run


@task
def add(a, b=1):
    return a + b


@task(takes_context=True)
async def describe(context, name):
    result = context.task_result
    return [name, context.attempt, result.id, str(result.status), run().type]


@task(priority=50)
def refuse(why):
    raise ValidationError(why)


@task
def count():
    from shop.models import Order

    return Order.objects.count()
"""

HEARD = """
from django.dispatch import receiver
from django.tasks.signals import task_enqueued, task_finished, task_started

signals = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}
for name, signal in signals.items():
    def hear(sender, task_result, name=name, **kwargs):
        with open("heard", "a") as file:
            print(name, task_result.task.name, task_result.status, file=file)
    signal.connect(hear, weak=False)
"""


@pytest.fixture
def shop(world):
    one = Shop(world)
    with (one.folder / "shop" / "settings.py").open("a") as file:
        file.write(SETTINGS)
    (one.folder / "shop" / "own.py").write_text(OWN + HEARD)
    one.tables()
    yield one
    one.close()


def say(shop, code):
    """Run code in the project; what it printed as JSON."""
    return json.loads(shop.shell("import json\nfrom shop import own\n" + code).splitlines()[-1])


def run(shop, count):
    command = shop.command("async_command", "--max-tasks", str(count))
    subprocess.run(
        command, cwd=shop.folder, env=shop.env, capture_output=True, timeout=60, check=True
    )


def test_tasks_of_all_forms_run_and_have_results(world, shop):
    ids = say(
        shop,
        "one = own.add.enqueue(2, b=3)\n"
        "two = own.describe.enqueue('n')\n"
        "three = own.refuse.enqueue('no')\n"
        "four = own.count.enqueue()\n"
        "assert own.add.get_result(one.id).status == 'READY'\n"
        "assert one.enqueued_at and one.args == [2] and one.kwargs == {'b': 3}\n"
        "print(json.dumps([one.id, two.id, three.id, four.id]))",
    )
    run(shop, 4)
    found = say(
        shop,
        "from django.tasks import default_task_backend as backend\n"
        "import asyncio\n"
        f"ids = {ids}\n"
        "one, two, three, four = (backend.get_result(i) for i in ids)\n"
        "again = asyncio.run(own.add.aget_result(ids[0]))\n"
        "assert again.return_value == 5 and again.is_finished and again.attempts == 1\n"
        "assert again.enqueued_at <= again.started_at <= again.finished_at\n"
        "from django.core.exceptions import ValidationError\n"
        "[error] = three.errors\n"
        "assert error.exception_class is ValidationError and 'shop/own.py' in error.traceback\n"
        "print(json.dumps([one.return_value, two.return_value, three.status, four.return_value,"
        " len(four.worker_ids)]))",
    )
    assert found == [5, ["n", 1, ids[1], "RUNNING", "django.async_task"], "FAILED", 0, 1]
    heard = (shop.folder / "heard").read_text().splitlines()
    assert {"enqueued add READY", "started add RUNNING", "finished add SUCCESSFUL"} < set(heard)
    assert "finished refuse FAILED" in heard


def test_a_task_of_a_transaction_is_pushed_when_it_commits_and_not_when_it_is_rolled_back(
    world, shop
):
    shop.shell(
        "from django.db import transaction\n"
        "from shop import own\n"
        "try:\n"
        "    with transaction.atomic():\n"
        "        own.add.enqueue(1)\n"
        "        raise RuntimeError\n"
        "except RuntimeError: pass\n"
        "with transaction.atomic():\n"
        "    result = own.add.enqueue(2)\n"
        "    assert result.enqueued_at is None\n"
        "assert result.enqueued_at is not None\n"
        "try: own.add.enqueue(object())\n"
        "except TypeError: pass\n"
        "else: raise AssertionError\n"
    )
    [raw] = world.redis.lrange(world.keys.queue, 0, -1)
    assert json.loads(raw)["data"]["args"] == [2]


def test_priorities_and_queues_are_lists_and_run_after_is_a_delay(world, shop):
    shop.shell(
        "from datetime import timedelta\n"
        "from django.utils import timezone\n"
        "from shop import own\n"
        "own.add.using(priority=1).enqueue(1)\n"
        "own.add.using(priority=-100).enqueue(2)\n"
        "own.add.using(queue_name='bulk').enqueue(3)\n"
        "own.add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(4)\n"
    )
    numbers = {
        key: [json.loads(raw)["data"]["args"][0] for raw in world.redis.lrange(key, 0, -1)[::-1]]
        for key in ("urgent", "async_tasks", "bulk")
    }
    assert numbers == {"urgent": [1], "async_tasks": [4], "bulk": [2, 3]}
    [raw] = world.redis.lrange("async_tasks", 0, -1)
    assert json.loads(raw)["run_at"] > json.loads(raw)["enqueued_at"] + 3000


def test_a_result_that_is_not_there_and_one_of_another_task_are_refused(world, shop):
    shop.shell(
        "from django.tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch\n"
        "from shop import own\n"
        "one = own.add.enqueue(1)\n"
        "for get, fault in ((lambda: own.add.get_result('none'), TaskResultDoesNotExist),\n"
        "                   (lambda: own.count.get_result(one.id), TaskResultMismatch)):\n"
        "    try: get()\n"
        "    except fault: continue\n"
        "    raise AssertionError(fault)\n"
    )


def test_a_running_task_says_so_and_a_dropped_one_has_failed(world, shop):
    ids = say(shop, "print(json.dumps([own.add.enqueue(1).id, own.add.enqueue(2).id]))")
    world.redis.set(world.keys.state(ids[0]), "running")
    statuses = say(
        shop,
        "from taskrig.contrib.django import queue\n"
        f"a, b = {ids}\n"
        "assert queue().cancel(b) == 'dropped'\n"
        "dropped = own.add.get_result(b)\n"
        "assert 'cancelled' in dropped.errors[0].traceback and dropped.errors[0].exception_class\n"
        "print(json.dumps([own.add.get_result(a).status, dropped.status]))",
    )
    assert statuses == ["RUNNING", "FAILED"]


def test_a_task_that_is_no_more_is_rejected_and_wrong_settings_are_found_by_check(world, shop):
    shop.shell("from shop import own\nown.add.enqueue(1)\n")
    source = shop.folder / "shop" / "own.py"
    source.write_text(source.read_text().replace("def add(", "def plus("))
    run(shop, 1)
    until(lambda: world.dead())
    assert world.dead()[0]["reason"] == b"rejected"
    assert "taskrig.E001" in shop.manage("check", code=1, TASKRIG_WORKER__LEASE="soon")


def test_the_handlers_of_such_tasks_are_loaded_only_where_tasks_has_the_backend(monkeypatch):
    from django.conf import settings

    if not settings.configured:
        settings.configure()
    monkeypatch.setattr(settings, "TASKS", {}, raising=False)
    assert with_own_tasks(["a"]) == ("a",)
    ours = {"default": {"BACKEND": "taskrig.contrib.django.TaskrigBackend"}}
    monkeypatch.setattr(settings, "TASKS", ours)
    assert with_own_tasks(["a"]) == ("a", RUNNING)
