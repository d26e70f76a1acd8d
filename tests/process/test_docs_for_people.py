"""The code of the docs for people (operators, producers, client, Django) runs as it stands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from urllib.parse import urlsplit

import django
import pytest
import yaml

from taskrig.config.load import load_config
from taskrig.task import decode
from tests.support.processes import ROOT, environment
from tests.support.waiting import until

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page, language):
    """The code blocks of one language, in order."""
    text = (ROOT / "docs" / page).read_text()
    return [code for kind, code in FENCE.findall(text) if kind == language]


@pytest.fixture
def run(world):
    """Run a program's text as a person would, with `worker` and `python` on the PATH."""
    tools = world.folder / "bin"
    tools.mkdir()
    for name, words in (
        ("worker", f'"{sys.executable}" -m taskrig'),
        ("python", f'"{sys.executable}"'),
    ):
        (tools / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (tools / name).chmod(0o755)

    def typed(*command, cwd=world.folder, code=0, **env):
        known = {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "REDIS_PORT": str(urlsplit(world.url).port),
            "REDIS_URL": world.url,
            "TASKRIG_REDIS__URL": world.url,
        }
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment({**known, **env}),
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    return typed


def pushed(world, count=1):
    """What the example pushed: valid tasks, all of them."""
    items = world.redis.lrange(world.keys.queue, 0, -1)
    assert len(items) == count
    return [decode(item) for item in items]


def local(code, world):
    """The example at the test's server in place of the usual address."""
    return code.replace("redis://localhost:6379/0", world.url)


# -- operators ---------------------------------------------------------------------------------


@pytest.mark.timeout(400)  # forty programs, one after the other
def test_the_operators_commands_run_as_they_stand(world, run):
    world.start_worker(concurrent=1)
    world.enqueue("raise", 3, kind="ValueError")
    world.push(b"no json")
    world.all_settled()
    world.enqueue("gate", 1)
    until(lambda: world.in_flight() == 1)
    [tag] = [one.decode() for one in world.redis.hkeys(world.keys.inflight)]
    letter = world.redis.xrange(world.keys.dead, count=1)[0][0].decode()
    world.push('{"type": "raise", "id": "r1", "run_at": 4000000000}')
    names = {"TAG": tag, "WORKER": tag.partition(":")[0], "ID": letter, "NAME": "r1"}
    in_order = sorted(blocks("operators.md", "sh"), key=lambda code: "worker drain" in code)
    assert len(in_order) == 9  # the drain comes last: it ends the worker

    for code in in_order:
        run("sh", "-eu", "-c", code, **names)

    assert world.workers[0].exit_code() == 0
    assert (world.folder / "item.json").read_bytes().startswith(b'{"type": "raise"')
    assert {b"cancelled"} <= {one["reason"] for one in world.dead()}


def test_the_operators_settings_are_right(tmp_path):
    [text] = blocks("operators.md", "yaml")
    (tmp_path / "password").write_text("x")
    values = yaml.safe_load(text)
    values["email"]["password_file"] = str(tmp_path / "password")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    config = load_config(tmp_path / "config.yaml", env={})
    assert config.files.results_prefix == "results:" and config.email.username == "shop"


# -- producers ---------------------------------------------------------------------------------


def test_the_shell_example_pushes_a_task(world, run):
    if shutil.which("redis-cli") is None:
        pytest.skip("no redis-cli on the PATH (Debian: redis-tools)")
    [code] = blocks("producers.md", "sh")
    run("sh", "-eu", "-c", code.replace("redis-cli", f"redis-cli -u {world.url}"))
    assert pushed(world)[0].data["to"] == "user@example.com"


def test_the_python_examples_push_tasks(world, run):
    one, _, many = blocks("producers.md", "python")
    assert "1 tasks wait" in run("python", "-c", local(one, world))
    assert pushed(world)[0].enqueued_at
    world.redis.flushdb()
    run("python", "-c", local(many, world))
    assert [task.data["n"] for task in pushed(world, 2500)[::-1]] == list(range(2500))


def test_the_fastapi_example_pushes_a_task(world, run):
    _, code, _ = blocks("producers.md", "python")
    client = """
        from fastapi.testclient import TestClient
        with TestClient(app) as client:
            reply = client.post("/receipts/A1")
            assert (reply.status_code, reply.json()) == (202, {"accepted": "A1"})
    """
    run("python", "-c", local(code, world) + textwrap.dedent(client))
    [task] = pushed(world)
    assert (task.type, task.data) == ("make_receipt", {"number": "A1"})


def test_the_clients_examples_push_tasks(world, run):
    push, in_loop, *_ = blocks("client.md", "python")
    name = run("python", "-c", push).strip()
    one, delayed, *many = pushed(world, 2502)[::-1]
    assert (one.id, one.type, delayed.run_at > time.time()) == (name, "email", True)
    assert [task.data["n"] for task in many] == list(range(2500))
    world.redis.flushdb()
    assert run("python", "-c", in_loop) == "order-7\n"
    assert [task.id for task in pushed(world)] == ["order-7"]


def test_a_web_service_answers_with_an_id_and_serves_what_became_of_it(world, run):
    *_, code = blocks("client.md", "python")
    client = """
        import json
        from fastapi.testclient import TestClient
        from redis import Redis
        with TestClient(app) as client:
            reply = client.post("/receipts/A1")
            assert reply.status_code == 202, reply.text
            name = reply.json()["id"]
            assert client.get(f"/tasks/{name}").status_code == 404
            redis = Redis.from_url(os.environ["REDIS_URL"])
            redis.set("{async_tasks}:state:" + name, "running")
            assert client.get(f"/tasks/{name}").json() == {"state": "running"}
            result = {"state": "succeeded", "result": "Receipt for A1"}
            redis.rpush("{async_tasks}:result:" + name, json.dumps(result))
            said = client.get(f"/tasks/{name}", params={"wait": 10}).json()
            assert said == {**result, "error": None}
    """
    run("python", "-c", code + textwrap.dedent(client))
    [task] = pushed(world)
    assert (task.type, task.fields["result_ttl"]) == ("make_receipt", 3600)


# The program that runs it, its block on the page, the file it stands in there, how it is run.
LANGUAGES = {
    "node": ("js", "enqueue.mjs", ("node", "enqueue.mjs")),
    "java": ("java", "Enqueue.java", ("java", "Enqueue.java")),
    "go": ("go", "enqueue.go", ("go", "run", "enqueue.go")),
}
FAILS = {"node": "WRONGTYPE", "java": "WRONGTYPE", "go": "redis refused it: -WRONGTYPE"}


@pytest.fixture
def example(world, run, request):
    """Put an example into a file; returns its language and how a person runs it."""
    language = request.param
    block, name, command = LANGUAGES[language]
    if shutil.which(language) is None:
        why = f"no {language} on the PATH"
        assert not os.environ.get("CI"), f"{why}: CI runs every example"
        pytest.skip(why)
    [code] = blocks("producers.md", block)
    (world.folder / name).write_text(code)
    if language == "node":
        run("npm", "install", "--silent", "--no-audit", "--no-fund", "redis@5")
    return language, lambda **more: run(*command, **more)


@pytest.mark.parametrize("example", LANGUAGES, indirect=True)
def test_the_examples_of_other_languages_push_a_task_and_say_what_redis_refuses(world, example):
    language, pushes = example
    assert "1 tasks wait" in pushes()
    [task] = pushed(world)
    assert (task.type, task.data) == ("fast_task", {"n": 1})

    world.redis.delete(world.keys.queue)
    world.redis.set(world.keys.queue, "not a list")
    assert FAILS[language] in pushes(code=1)


# -- Django ------------------------------------------------------------------------------------


def test_the_django_page_is_the_example_project_and_its_commands_run(world, run):
    project = world.folder / "django"
    shutil.copytree(ROOT / "examples" / "django", project)
    settings, handlers, tasks, enqueueing = blocks("django.md", "python")
    (project / "shop" / "tasks.py").write_text(handlers)
    with (project / "shop" / "settings.py").open("a") as file:
        file.write(local(settings, world) + 'TASKRIG["http"] = {"port": 0}\n')
        file.write(tasks if django.VERSION >= (6,) else "")
    env = {"cwd": project, "SHOP_DATABASE": str(project / "db")}
    run("python", "manage.py", "migrate", "--run-syncdb", **env)
    run("python", "manage.py", "shell", "-c", enqueueing, **env)
    assert json.loads(world.redis.rpop(world.keys.queue))["data"] == {"number": "A1"}

    serve, try_it = blocks("django.md", "sh")
    run("python", "manage.py", "add_test_tasks", "--redis-key", "my_tasks", **env)
    run("sh", "-eu", "-c", serve, **env)
    run("sh", "-eu", "-c", try_it, **env)
    assert not world.redis.exists("my_tasks", world.keys.queue)
