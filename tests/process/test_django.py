"""The example Django project, with the real management commands."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import datetime

import pytest

from tests.support.outputs import Output, full_pipe
from tests.support.processes import ROOT, environment
from tests.support.servers import free_port
from tests.support.waiting import until


class Shop:
    """The project, copied to a folder of the test's own."""

    def __init__(self, world):
        self.world = world
        self.folder = world.folder / "django"
        shutil.copytree(ROOT / "examples" / "django", self.folder)
        self.env = environment({"REDIS_URL": world.url, "SHOP_DATABASE": str(self.folder / "db")})
        self._started = []

    def command(self, *args):
        return [sys.executable, "manage.py", *args]

    def manage(self, *args, code=0, stdin=None, **env):
        done = subprocess.run(
            self.command(*args),
            cwd=self.folder,
            env={**self.env, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def shell(self, code):
        return self.manage("shell", "--verbosity", "0", "-c", code)

    def start(self, *args, handlers=None):
        """Start the worker command in the background; returns the process and its log."""
        env = {**self.env, **({"TASKRIG_HANDLERS": handlers} if handlers else {})}
        log = self.folder / f"worker{len(self._started)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                self.command("async_command", *args),
                cwd=self.folder,
                env=env,
                stdout=out,
                stderr=out,
            )
        self._started.append(process)
        until(lambda: "started:" in log.read_text(), 20, log.read_text)
        return process, log

    def tables(self):
        self.manage("migrate", "--run-syncdb", "--verbosity", "0")

    def receipts(self):
        with closing(sqlite3.connect(self.folder / "db")) as database:
            return dict(database.execute("SELECT number, receipt FROM shop_order"))

    def close(self):
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def shop(world):
    one = Shop(world)
    yield one
    one.close()


def makespan(log):
    """Seconds from the first task's start to the last one's end, as the log has them."""
    lines = [line for line in log.splitlines() if "handling" in line or " done in " in line]
    times = [datetime.fromisoformat(line[:23]) for line in lines]
    return (max(times) - min(times)).total_seconds()


@pytest.mark.parametrize(("at_once", "takes_s"), [("1", 7.5), ("10", 2.0)])
def test_the_seven_tasks_run_serially_or_at_once(world, shop, at_once, takes_s):
    assert "7 tasks added to my_tasks" in shop.manage(
        "add_test_tasks", "--action", "add", "--redis-key", "my_tasks"
    )
    log = shop.manage(
        "async_command",
        "--redis-key",
        "my_tasks",
        "--interval",
        "2",
        "--max-tasks",
        "7",
        "--max-concurrent",
        at_once,
    )
    assert makespan(log) > takes_s - 0.1
    begun = [
        " started, " in line
        for line in log.splitlines()
        if " handling " in line or " done in " in line
    ]
    assert begun == ([True, False] * 7 if at_once == "1" else [True] * 7 + [False] * 7)
    assert "stopped: 7 done, 0 failed" in log


def test_max_tasks_is_exact_and_clear_empties_the_queue(world, shop):
    shop.manage("add_test_tasks")
    log = shop.manage("async_command", "--max-tasks", "2", "--max-concurrent", "1")
    assert "stopped: 2 done" in log
    assert world.waiting() == 5
    for key in ("{async_tasks}:redeliver", "{async_tasks}:held:fast_task"):
        world.redis.rpush(key, '1:1:0:0|{"type": "fast_task"}')
    world.redis.sadd("{async_tasks}:held", "fast_task")
    world.redis.zadd("{async_tasks}:delayed", {'1:2:0:1|{"type": "fast_task"}': 1e12})
    assert "8 waiting tasks removed" in shop.manage("add_test_tasks", "--action", "clear")
    assert world.waiting() == world.redis.zcard("{async_tasks}:delayed") == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_lets_what_runs_finish_and_ends_with_0(world, shop, number):
    process, log = shop.start("--max-concurrent", "1")
    world.enqueue("slow_task", 3)
    until(lambda: "handling slow_task" in log.read_text())
    process.send_signal(number)
    assert process.wait(10) == 0
    assert "draining" in log.read_text() and "stopped: 1 done" in log.read_text()
    assert world.waiting() == 2


def test_a_task_is_enqueued_when_its_transaction_commits_and_not_when_it_is_rolled_back(
    world, shop
):
    shop.tables()
    shop.shell(
        "from django.db import transaction\n"
        "from shop.models import Order\n"
        "from taskrig.contrib.django import enqueue\n"
        "import datetime, decimal\n"
        "with transaction.atomic():\n"
        "    Order.objects.create(number='A1')\n"
        "    enqueue('make_receipt', {'number': 'A1', 'sum': decimal.Decimal('1.10')}, id='a1')\n"
        "    from redis import Redis\n"
        f"    assert Redis.from_url('{world.url}').llen('async_tasks') == 0\n"
        "try:\n"
        "    with transaction.atomic():\n"
        "        enqueue('make_receipt', {'number': 'B2'})\n"
        "        raise RuntimeError\n"
        "except RuntimeError: pass\n"
        "enqueue('count_orders')\n"
        "for bad in ({'x': float('nan')}, {'x': object()}):\n"
        "    try: enqueue('x', bad)\n"
        "    except ValueError: continue\n"
        "    raise AssertionError\n"
    )
    first, second = (json.loads(one) for one in world.redis.lrange("async_tasks", 0, -1)[::-1])
    assert (first["type"], first["data"]["sum"], first["id"]) == ("make_receipt", "1.10", "a1")
    assert abs(first["enqueued_at"] - time.time()) < 60
    assert second["type"] == "count_orders"

    shop.manage("async_command", "--max-tasks", "2", "--max-concurrent", "1")
    assert shop.receipts() == {"A1": "Receipt for A1", "count": "1"}


def test_a_database_connection_that_broke_is_not_met_by_the_next_task(world, shop):
    shop.tables()
    shop.shell("from shop.models import Order; Order.objects.create(number='A1')")
    process, _ = shop.start("--max-concurrent", "1")
    world.enqueue("break_connection", 1)
    world.push('{"type": "make_receipt", "data": {"number": "A1"}}')
    until(lambda: world.settled() == 2)
    assert (world.totals()["failed"], world.totals()["succeeded"]) == (1, 1)
    assert shop.receipts()["A1"] == "Receipt for A1"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


COUNTING = """
import os

from django.core.cache.backends.locmem import LocMemCache
from django.db.backends.sqlite3 import base


def note(word):
    with open(os.environ["SHOP_DATABASE"] + ".notes", "a") as notes:
        notes.write(word + "\\n")


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, params):
        note("connected")
        return super().get_new_connection(params)

    def _close(self):
        if self.connection is not None:
            note("disconnected")
        super()._close()


class Cache(LocMemCache):
    connected = False

    def set(self, *args, **more):
        if not self.connected:
            note("client connected")
        self.connected = True
        super().set(*args, **more)

    def close(self, **kwargs):
        if self.connected:
            note("client disconnected")
        self.connected = False
"""
COUNTED = """
from django.core.cache import cache
from django.utils import translation
from shop.models import Order
from taskrig import handler


@handler("plain")
def plain(data):
    if data.get("speaks"):
        translation.activate(data["speaks"])
    Order.objects.filter(number=translation.get_language()).count()
    if translation.get_language() != data.get("speaks", "en-us"):
        raise ValueError(translation.get_language())
    cache.set("last", data)


@handler("in_process", run_in="process")
def in_process(data):
    plain(data)


@handler("coroutine")
async def coroutine(data):
    await Order.objects.filter(number="A").acount()
    await cache.aset("last", data)
"""


@pytest.fixture
def counted(shop):
    """The project with a database and a cache that note each connection and client."""
    (shop.folder / "counting").mkdir()
    (shop.folder / "counting" / "__init__.py").touch()
    (shop.folder / "counting" / "base.py").write_text(COUNTING)
    (shop.folder / "shop" / "counted.py").write_text(COUNTED)
    settings = shop.folder / "shop" / "settings.py"
    settings.write_text(
        settings.read_text()
        + "DATABASES['default']['ENGINE'] = 'counting'\n"
        + "DATABASES['default']['CONN_MAX_AGE'] = int(os.environ.get('MAX_AGE', 600))\n"
        + "CACHES = {'default': {'BACKEND': 'counting.base.Cache'}}\n"
        + "TASKRIG['log'] = {'tasks': 'failures'}\n"
    )
    shop.tables()
    notes = shop.folder / "db.notes"
    notes.unlink()
    shop.notes = lambda: Counter(notes.read_text().split("\n")) if notes.exists() else Counter()
    return shop


def work_off(counted, *, at_once, **env):
    log = counted.manage(
        *("async_command", "--max-concurrent", str(at_once)),
        *("--max-tasks", str(counted.world.accepted)),
        TASKRIG_HANDLERS="shop.counted",
        **env,
    )
    assert f"stopped: {counted.world.accepted} done, 0 failed" in log, log
    return counted.notes()


@pytest.mark.parametrize("kind", ["plain", "coroutine", "in_process"])
def test_tasks_at_once_need_a_connection_and_a_cache_client_each_and_not_one_a_task(
    world, counted, kind
):
    world.enqueue(kind, 2000)
    notes = work_off(counted, at_once=10)
    assert 1 <= notes["connected"] <= 10
    assert 1 <= notes["client connected"] <= 10
    # When the worker has ended, so have they.
    assert notes["disconnected"] == notes["connected"]
    assert notes["client disconnected"] == notes["client connected"]


def test_a_connection_that_is_to_live_for_no_time_is_closed_after_its_task(world, counted):
    world.enqueue("plain", 5)
    notes = work_off(counted, at_once=1, MAX_AGE="0")
    assert notes["connected"] == notes["disconnected"] == 5


def test_a_language_that_a_plain_function_activates_is_not_the_next_tasks(world, counted):
    world.enqueue("plain", 1, speaks="de")
    world.enqueue("plain", 1)
    work_off(counted, at_once=1)


@pytest.mark.parametrize(
    ("args", "env", "code", "says"),
    [
        (["--max-concurrent", "0"], {}, 2, "--max-concurrent: must be at least 1"),
        (["--interval", "soon"], {}, 2, "--interval: must be a duration"),
        (["--redis-url", "http://x"], {}, 2, "must begin with redis://"),
        (["--max-tasks", "1"], {"TASKRIG_REDIS__CONNECT_TIMEOUT": "0"}, 3, "Redis at"),
    ],
)
def test_wrong_flags_and_a_missing_redis_are_one_clear_line(shop, args, env, code, says):
    if code == 3:
        args = [*args, "--redis-url", f"redis://127.0.0.1:{free_port()}/0"]
    assert says in shop.manage("async_command", *args, code=code, **env)


def test_wrong_settings_are_named_by_their_place(shop):
    settings = shop.folder / "shop" / "settings.py"
    settings.write_text(settings.read_text() + "TASKRIG['worker'] = {'max_concurent': 3}\n")
    said = shop.manage("async_command", code=2)
    assert (
        "settings.TASKRIG: worker.max_concurent: unknown key; did you mean max_concurrent?" in said
    )
    assert "settings.TASKRIG" in shop.manage("add_test_tasks", code=2)


OWN_COMMAND = """
import logging, time
from django.core.management.base import BaseCommand

logger = logging.getLogger(__name__)


async def async_handle(data):
    task_type = data.get("type")
    task_data = data.get("data", {})
    if task_type == "custom_task":
        logger.warning("custom %s", task_data)
    else:
        logger.warning("default %s", data)


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("--max-tasks")

    def handle(self, *args, **options):
        self.stdout.write("a command of one's own")
        self.stdout.flush()
        try:
            time.sleep(60 if options["max_tasks"] is None else 0)
        except KeyboardInterrupt:
            self.stdout.write("interrupted")
"""


@pytest.fixture
def school(shop):
    """A project whose app has an async_command of its own, and its function in that module."""
    commands = shop.folder / "school" / "management" / "commands"
    commands.mkdir(parents=True)
    for folder in (commands, commands.parent, commands.parent.parent):
        (folder / "__init__.py").touch()
    (commands / "async_command.py").write_text(OWN_COMMAND)
    settings = shop.folder / "shop" / "settings.py"
    settings.write_text(
        settings.read_text()
        + "INSTALLED_APPS = os.environ.get('APPS', 'taskrig.contrib.django,school').split(',')\n"
        "TASKRIG['handlers'] = ['school.management.commands.async_command:async_handle']\n"
    )
    return shop


def test_the_function_of_a_command_of_ones_own_is_given_whole_tasks(world, school):
    world.push('{"type": "custom_task", "data": {"n": 1}}', '{"type": "other", "shop": "x"}')
    log = school.manage("async_command", "--max-tasks", "2")
    assert "custom {'n': 1}" in log
    assert "default {'type': 'other', 'shop': 'x', 'data': {}}" in log
    assert "stopped: 2 done" in log


def test_a_command_of_another_app_that_goes_before_ours_is_said(school):
    assert "W001" not in school.manage("check")
    school.env["APPS"] = "school,taskrig.contrib.django"
    said = school.manage("check")
    assert "(taskrig.W001) manage.py async_command is the command of 'school'" in said
    assert "Put 'taskrig.contrib.django' before 'school' in INSTALLED_APPS" in said
    assert "a command of one's own" in school.manage("async_command", "--max-tasks", "1")


def test_the_signals_are_left_to_the_command_that_runs(school):
    school.env["APPS"] = "school,taskrig.contrib.django"
    log = school.folder / "own.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            school.command("async_command"),
            cwd=school.folder,
            env=school.env,
            stdout=out,
            stderr=out,
        )
    school._started.append(process)
    until(lambda: "a command of one's own" in log.read_text(), 20, log.read_text)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert "interrupted" in log.read_text()


def test_the_traceback_of_a_handler_has_no_frames_of_asgiref(world, school):
    own = school.folder / "school" / "failing.py"
    own.write_text("async def async_handle(data):\n    raise ValueError('as asked')\n")
    world.push('{"type": "a"}')
    log = school.start("--max-tasks", "1", handlers="school.failing:async_handle")[1]
    until(lambda: "exit 0" in log.read_text(), 20, log.read_text)
    assert "failing.py" in log.read_text() and "as asked" in log.read_text()
    assert "asgiref" not in log.read_text()


def test_a_function_named_with_a_dot_is_told_the_colon(school):
    said = school.manage(
        "async_command",
        code=2,
        TASKRIG_HANDLERS="school.management.commands.async_command.async_handle",
    )
    assert "did you mean school.management.commands.async_command:async_handle?" in said


CONSOLE = {"class": "logging.StreamHandler"}
LOGGINGS = {
    "only Django's loggers": {
        "handlers": {"c": CONSOLE},
        "loggers": {"django": {"handlers": ["c"]}},
    },
    "a root that shows warnings": {
        "handlers": {"c": CONSOLE},
        "root": {"handlers": ["c"], "level": "WARNING"},
    },
    "a console that is off outside of debugging": {
        "filters": {"debugging": {"()": "django.utils.log.RequireDebugTrue"}},
        "handlers": {"c": {**CONSOLE, "filters": ["debugging"]}},
        "root": {"handlers": ["c"]},
    },
    "mails to the admins": {
        "handlers": {"m": {"class": "django.utils.log.AdminEmailHandler", "level": "ERROR"}},
        "root": {"handlers": ["m"]},
    },
    "a configuration by hand": None,
}


def log_by(shop, configuration):
    """Let the project's settings configure logging so."""
    settings = shop.folder / "shop" / "settings.py"
    text = f"LOGGING = {{'version': 1, **{configuration!r}}}\n"
    if configuration is None:
        text = (
            "LOGGING_CONFIG = None\nimport logging.config\nlogging.config.dictConfig({"
            f"'version': 1, 'handlers': {{'c': {CONSOLE!r}}}, 'root': {{'handlers': ['c']}}}})\n"
        )
    settings.write_text(settings.read_text() + text)


@pytest.mark.parametrize("configuration", LOGGINGS.values(), ids=LOGGINGS)
def test_under_the_projects_logging_the_workers_lines_are_seen_once(world, shop, configuration):
    log_by(shop, configuration)
    world.enqueue("fast_task")
    log = shop.manage("async_command", "--max-tasks", "1")
    for line in ("started: queue", "handling fast_task", "stopped: 1 done"):
        assert log.count(line) == 1, log


def test_a_level_that_the_projects_logging_gives_the_worker_holds(world, shop):
    log_by(
        shop,
        {
            "handlers": {"c": CONSOLE},
            "root": {"handlers": ["c"]},
            "loggers": {"taskrig": {"level": "WARNING"}},
        },
    )
    world.enqueue("fast_task")
    log = shop.manage("async_command", "--max-tasks", "1")
    assert "started" not in log and "stopped" not in log


@pytest.mark.parametrize("configuration", [{}, LOGGINGS["a root that shows warnings"]])
def test_the_command_works_on_and_ends_though_nobody_reads(world, shop, configuration):
    shop.tables()
    log_by(shop, configuration)
    out = Output()
    world.enqueue("make_receipt", 400, number="none")
    process = subprocess.Popen(
        shop.command("async_command"),
        cwd=shop.folder,
        env=shop.env,
        stdout=out.writer,
        stderr=out.writer,
    )
    shop._started.append(process)
    world.all_settled(60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_command_that_cannot_start_ends_with_its_exit_code_though_nobody_reads(shop):
    out = full_pipe()
    process = subprocess.Popen(
        shop.command("async_command", "--max-concurrent", "0"),
        cwd=shop.folder,
        env=shop.env,
        stderr=out.writer,
    )
    shop._started.append(process)
    assert process.wait(20) == 2
