"""Signals in the first seconds of a program: taken before anything else is imported."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.processes import MODULES, ROOT, environment
from tests.support.waiting import until

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
by_signal = pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)

STANDS_STILL = """
import pathlib, time
pathlib.Path({reached!r}).touch()
time.sleep(600)
"""


class Starting:
    """A program that stands still in its start, at the import of one module."""

    def __init__(self, folder, module, *command, ignored=(), **env):
        self.reached = folder / "reached"
        stubs = folder / "stubs"
        stubs.mkdir()
        (stubs / f"{module}.py").write_text(STANDS_STILL.format(reached=str(self.reached)))
        found = environment(env)
        found["PYTHONPATH"] = f"{stubs}:{found['PYTHONPATH']}"
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    "env",
                    *(f"--ignore-signal={number.name}" for number in ignored),
                    sys.executable,
                    *command,
                ],
                cwd=folder,
                env=found,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        until(self._stands, 30, f"it imports {module}")

    def _stands(self):
        assert self.process.poll() is None, self.log.read_text()
        return self.reached.exists()

    def ended_by(self, number):
        """Its exit code and what it said."""
        self.process.send_signal(number)
        return self.process.wait(10), self.log.read_text()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@pytest.fixture
def starting(tmp_path):
    made = []

    def start(*words, **options):
        made.append(Starting(tmp_path, *words, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@by_signal
@pytest.mark.parametrize("flags", [[], ["run", "--processes", "2"], ["--max-tasks", "1"]], ids=str)
def test_a_worker_that_is_still_importing_ends_with_0_and_one_line(starting, number, flags):
    code, said = starting("pydantic", "-m", "taskrig", *flags).ended_by(number)
    assert code == 0
    assert said == f"worker: {number.name} before the start: nothing was begun\n"


HALF_IMPORTED = """
import os, sys
from taskrig.runtime import early
early.end_at_once(0, "worker")
sys.modules.pop("signal", None)
sys.modules["enum"] = type(sys)("enum")  # as it is in the middle of its own import
os.kill(os.getpid(), int(sys.argv[1]))
"""


@by_signal
def test_a_signal_while_enum_is_half_imported_ends_the_worker_with_0_and_one_line(number):
    done = subprocess.run(
        [sys.executable, "-c", HALF_IMPORTED, str(int(number))],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    said = f"worker: {number.name} before the start: nothing was begun\n"
    assert (done.returncode, done.stderr) == (0, said)


@by_signal
@pytest.mark.parametrize("flags", [[], ["--processes", "2"]], ids=["one process", "two processes"])
def test_a_worker_whose_handlers_are_still_imported_ends_with_0(starting, number, flags):
    worker = starting("slow_handlers", "-m", "taskrig", *flags, "--set", "handlers=[slow_handlers]")
    code, said = worker.ended_by(number)
    assert code == 0
    assert said.endswith(f"worker: {number.name} before the start: nothing was begun\n")
    assert "Traceback" not in said


@by_signal
@pytest.mark.parametrize("program", ["worker status", "loadgen run", "loadgen --mix"])
def test_any_other_command_that_is_still_importing_ends_with_130(starting, number, program):
    program, *words = program.split()
    code, said = starting("pydantic", "-m", MODULES[program], *words).ended_by(number)
    assert (code, said) == (130, "")


@by_signal
def test_djangos_command_ends_with_0_while_django_still_reads_the_apps_after_ours(
    starting, tmp_path, number
):
    (tmp_path / "slow_settings.py").write_text(
        "INSTALLED_APPS = ['taskrig.contrib.django', 'slow_app']\nSECRET_KEY = 'x'\n"
    )
    (tmp_path / "manage.py").write_text((ROOT / "examples/django/manage.py").read_text())
    code, said = starting(
        "slow_app", "manage.py", "async_command", DJANGO_SETTINGS_MODULE="slow_settings"
    ).ended_by(number)
    assert code == 0
    assert said == f"async_command: {number.name} before the start: nothing was begun\n"


def test_sigusr1_does_not_end_a_worker_that_is_still_starting(starting):
    worker = starting("slow_handlers", "-m", "taskrig", "--set", "handlers=[slow_handlers]")
    worker.process.send_signal(signal.SIGUSR1)
    code, said = worker.ended_by(signal.SIGTERM)
    assert code == 0
    assert "SIGTERM before the start" in said


@pytest.mark.parametrize("name", ["worker", "loadgen"])
def test_a_sighup_that_nohup_ignores_stays_ignored(starting, name):
    program = starting("pydantic", "-m", MODULES[name], "run", ignored=[signal.SIGHUP])
    program.process.send_signal(signal.SIGHUP)
    code, said = program.ended_by(signal.SIGTERM)
    assert code == (0 if name == "worker" else 130)
    assert "SIGHUP" not in said


HOLDS_BACK = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
print("held back", flush=True)
sys.stdin.readline()
os.execv(sys.executable, [sys.executable, "-m", "taskrig"])
"""


@by_signal
def test_a_signal_that_was_held_back_until_the_worker_could_take_it_is_taken(tmp_path, number):
    """As `env --block-signal` does in the Dockerfile, until Python is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_BACK],
        cwd=tmp_path,
        env=environment(),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == "held back\n"
        process.send_signal(number)
        _, said = process.communicate("\n", timeout=20)
        assert process.returncode == 0
        assert said == f"worker: {number.name} before the start: nothing was begun\n"
    finally:
        process.kill()
        process.wait()
