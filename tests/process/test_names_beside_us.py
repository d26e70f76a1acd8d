"""Modules of the user's with names near ours: they work, or one line says which is in the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.process.test_django import Shop
from tests.support.processes import environment

BIN = Path(sys.executable).parent
AS_SCRIPTS = {"worker": [BIN / "worker"], "loadgen": [BIN / "loadgen"]}
AS_MODULES = {
    "worker": [sys.executable, "-m", "taskrig"],
    "loadgen": [sys.executable, "-m", "taskrig_loadgen"],
}
HANDLER = """\
from taskrig import handler


@handler("{type}")
def {type}(data):
    pass
"""


@pytest.fixture
def folder(world):
    """Where the user works: nothing but what a test writes is on the import path."""
    one = world.folder / "project"
    one.mkdir()
    return one


@pytest.fixture
def scripts(folder, world):
    """Run `worker ...` or `loadgen ...` in that folder; what it said when it ended with `code`."""
    return Programs(AS_SCRIPTS, folder, world.url)


@pytest.fixture
def modules(folder, world):
    """The same by `python -m`, which puts the folder itself on the import path."""
    return Programs(AS_MODULES, folder, world.url)


@pytest.fixture(params=["scripts", "modules"])
def run(request):
    """Each of the two."""
    return request.getfixturevalue(request.param)


class Programs:
    """Both programs, started in one of their ways."""

    def __init__(self, ways, folder, url):
        self.ways, self.folder, self.url = ways, folder, url

    def __call__(self, program, *words, code=0):
        env = environment({"TASKRIG_REDIS__URL": self.url, "TASKRIG_HTTP__PORT": "0"})
        del env["PYTHONPATH"]
        done = subprocess.run(
            [*self.ways[program], *words],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, (done.returncode, said)
        assert "Traceback" not in said
        return said


def write(folder, handlers, **files):
    """Files of Python, by their names with __ for a slash; and a config that names handlers."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        if path.parent != folder:
            (path.parent / "__init__.py").touch()
        path.write_text(text)
    (folder / "config.yaml").write_text(yaml.safe_dump({"handlers": handlers}))


BESIDE = {
    "modules": (["worker", "loadgen"], {"worker": "greet", "loadgen": "weigh"}),
    "packages": (
        ["worker.tasks", "loadgen"],
        {"worker__tasks": "greet", "loadgen__things": "weigh"},
    ),
}


@pytest.mark.parametrize("form", BESIDE)
def test_modules_and_packages_called_worker_and_loadgen_hold_handlers(world, folder, run, form):
    handlers, types = BESIDE[form]
    write(folder, handlers, **{name: HANDLER.format(type=one) for name, one in types.items()})
    assert "greet(data)" in run("worker", "check")
    assert "pushed 3 tasks" in run("loadgen", "--mix", "greet=2,weigh=1", "--no-follow")
    assert "stopped: 3 done, 0 failed" in run("worker", "run", "--max-tasks", "3")
    assert world.redis.hget(world.keys.stats, "succeeded") == b"3"
    assert "dead letters" in run("worker", "dead", "list")


def test_a_django_project_may_have_apps_called_worker_and_loadgen(world):
    shop = Shop(world)
    for app, task_type in (("worker", "greet"), ("loadgen", "weigh")):
        (shop.folder / app).mkdir()
        (shop.folder / app / "__init__.py").touch()
        (shop.folder / app / "models.py").write_text("from django.db import models\n")
        (shop.folder / app / "tasks.py").write_text(HANDLER.format(type=task_type))
    settings = shop.folder / "shop" / "settings.py"
    settings.write_text(
        settings.read_text().replace('"shop"]', '"shop", "worker", "loadgen"]')
        + 'TASKRIG["handlers"] += ["worker.tasks", "loadgen.tasks"]\n'
    )
    world.enqueue("greet", 2)
    world.enqueue("weigh")
    shop.manage("add_test_tasks")
    assert "stopped: 10 done, 0 failed" in shop.manage("async_command", "--max-tasks", "10")
    world.accepted = 10
    world.assert_conserved()


@pytest.mark.parametrize("name", ["taskrig", "taskrig__tasks", "email"])
def test_a_handler_module_whose_name_is_taken_is_refused_with_both_files(folder, scripts, name):
    write(folder, [name.replace("__", ".")], **{name: HANDLER.format(type="greet")})
    said = scripts("worker", "check", code=2)
    assert f"{folder / name.replace('__', '/')}.py cannot be used: another module has" in said
    assert said.count("\n") == 1 and "rename it" in said


def test_a_folder_called_taskrig_that_is_no_package_hides_nothing(world, folder, run):
    write(folder, ["tasks"], tasks=HANDLER.format(type="greet"))
    (folder / "taskrig").mkdir()
    (folder / "taskrig" / "notes.txt").touch()
    world.enqueue("greet")
    assert "stopped: 1 done" in run("worker", "run", "--max-tasks", "1")
    assert "loadgen 0." in run("loadgen", "--version")


def test_a_package_called_taskrig_does_not_hide_ours_from_the_script(world, folder, scripts):
    write(folder, ["taskrig.handlers"], taskrig__other="")
    world.enqueue("noop")
    assert "stopped: 1 done" in scripts("worker", "run", "--max-tasks", "1")


@pytest.mark.parametrize("name", ["queue", "redis"])
def test_a_file_that_hides_a_library_is_named(folder, run, name):
    write(folder, ["tasks"], tasks=HANDLER.format(type="greet"), **{name: "x = 1\n"})
    said = run("worker", "status", code=2)
    assert (
        said
        == f"worker: {folder}/{name}.py hides a module of its name that worker needs; rename it\n"
    )


@pytest.mark.parametrize("text", ["x = 1\n", "from taskrig import handler\n"])
def test_loadgen_says_which_file_hides_the_package(folder, modules, text):
    write(folder, [], taskrig=text)
    said = modules("loadgen", "--version", code=2)
    assert said == f"loadgen: {folder}/taskrig.py hides the package taskrig; rename it\n"
