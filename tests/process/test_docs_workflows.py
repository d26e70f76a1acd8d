"""Every block of docs/workflows.md runs, and does what the page says."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from tests.process.test_docs_for_people import blocks
from tests.support.processes import environment
from tests.support.waiting import until


def typed_in(world, code):
    """Run redis-cli's lines as a person would; redis-cli itself may not be here."""
    answers: list[list[str]] = []
    for word in shlex.split(code):
        if word == "redis-cli":
            answers.append([])
        else:
            answers[-1].append(word)
    client = world.redis.from_url(world.url, socket_timeout=60)
    done = [client.execute_command(*words) for words in answers]
    client.close()
    return done


@pytest.fixture
def worker(world):
    """A worker with the page's handlers."""
    waits, *handlers = blocks("workflows.md", "python")
    groups = handlers.pop(-2)
    (world.folder / "page_handlers.py").write_text("\n\n".join(handlers))
    one = world.start_worker(handlers=["page_handlers"])
    one.page, one.groups = waits, groups
    return one


def test_the_page_of_workflows_does_what_it_says(world, worker):
    wait, resize, charge, _ = blocks("workflows.md", "sh")
    world.accepted = 4
    pushed, found = typed_in(world, wait)
    assert pushed >= 0 and b'"path":"small/7.jpg"' in found
    command = [sys.executable, "-c", worker.page]
    env = environment({"REDIS_URL": world.url})
    out = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout == "small/8.jpg\n"
    typed_in(world, resize)
    worker.logged("ann: small/9.jpg is ready", 20)
    typed_in(world, charge)
    worker.logged("order 12: invoice by post", 20)
    world.all_settled()
    assert world.totals()["retried"] == 2


def test_its_handler_imports_rows_in_parts(world, worker):
    world.enqueue("import_rows", rows=list(range(1200)))
    until(lambda: worker.log().count("500 rows") == 2, 20, "two full parts")
    worker.logged("200 rows")
    world.all_settled()


def test_its_groups_report(world, worker):
    *_, tuesday = blocks("workflows.md", "sh")
    typed_in(world, tuesday)
    worker.logged("tuesday: 2 parts, 0 failed", 20)
    env = environment({"REDIS_URL": world.url})
    command = [sys.executable, "-c", worker.groups]
    subprocess.run(command, env=env, timeout=60, check=True)
    worker.logged("monday: 100 parts, 0 failed", 30)
    world.accepted = 102
    world.all_settled()
