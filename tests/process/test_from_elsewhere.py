"""The pages for those who come from other queues: what stands under After runs as it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.processes import ROOT, environment

BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
pytestmark = pytest.mark.timeout(300)  # each starts several programs
QUEUES = ("celery", "rq", "arq", "sidekiq")
PAGES = [f"from-{name}" for name in QUEUES]
# What a shop has besides its tasks: it notes what it was told to do.
SHOP = """
import json, os

def _note(*what):
    with open(os.environ["SHOP_NOTES"], "a") as file:
        file.write(json.dumps(what) + "\\n")

def mail(user, text): _note("mail", user, text)
def send_sms(number, text): _note("sms", number, text)
def write_report(day): _note("report", day)

def bank(order, pence, attempt):
    if order == "no answer":
        raise ConnectionError("the bank does not answer")
    _note("bank", order, pence, attempt)
"""


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of every block of a page."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    return [(kind, textwrap.dedent(code)) for _, kind, code in BLOCK.findall(text)]


@pytest.mark.parametrize("page", PAGES)
def test_what_stands_under_before_is_python(page):
    before = [code for kind, code in blocks(page) if kind == "py"]
    assert before or page == "from-sidekiq"  # whose Before is Ruby
    for code in before:
        compile(code, page, "exec")


@pytest.fixture
def project(world):
    """The files of a page in a folder, beside the shop that they import."""

    def made(page: str) -> Path:
        folder = world.folder / page
        folder.mkdir()
        (folder / "shop.py").write_text(SHOP)
        for _, code in blocks(page):
            if name := re.match(r"# ([\w.]+\.(?:py|yaml))", code):
                (folder / name[1]).write_text(code.replace("redis://localhost:6379/0", world.url))
        return folder

    return made


def run(folder: Path, *words: str) -> str:
    """Run Python there; what it printed."""
    env = environment({"SHOP_NOTES": str(folder / "notes"), "TASKRIG_HTTP__PORT": "0"})
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**env, "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def notes(folder: Path) -> list[list[object]]:
    """What the shop was told to do."""
    return [json.loads(line) for line in (folder / "notes").read_text().splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_what_stands_under_after_runs_and_its_tests_pass(world, project, page):
    folder = project(page)
    options = ("-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto")
    assert " passed" in run(folder, "-m", "pytest", *options, "test_shop.py")

    (folder / "notes").unlink(missing_ok=True)
    run(folder, "callers.py")
    waiting = world.redis.llen(world.keys.queue)
    run(folder, "-m", "taskrig", "run", "--max-tasks", str(waiting))
    assert ["mail", 7, "Welcome!"] in notes(folder)
    assert world.dead() == []


def test_the_moved_shop_does_all_its_tasks(world, project):
    folder = project("from-celery")
    data = {
        "welcome": {"user_id": 1},
        "charge": {"order": "A2", "pence": 700},
        "sms": {"number": "123", "text": "hi"},
        "thumbnail": {"width": 10},
        "report": {"day": "today"},
        "remind": {"user_id": 2},
    }
    for task_type, value in data.items():
        world.push(json.dumps({"type": task_type, "data": value}))

    run(folder, "-m", "taskrig", "run", "--max-tasks", str(len(data)))

    assert sorted(map(str, notes(folder))) == [
        "['bank', 'A2', 700, 1]",
        "['mail', 1, 'Welcome!']",
        "['mail', 2, 'Your basket waits.']",
        "['report', 'today']",
        "['sms', '123', 'hi']",
    ]
    assert world.dead() == []
    assert int(world.redis.hget(world.keys.stats, "succeeded")) == len(data)


def test_the_bridge_passes_a_celery_task_on(world, project):
    folder = project("from-celery")
    run(folder, "-c", "import bridge; bridge.welcome(7)")
    [item] = world.redis.lrange(world.keys.queue, 0, -1)
    assert (json.loads(item)["type"], json.loads(item)["data"]) == ("welcome", {"user_id": 7})
