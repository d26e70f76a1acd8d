"""Every command's help shows an example, and the example works when it is pasted."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from taskrig_loadgen.cli import entry, main
from taskrig_loadgen.cli.entry import COMMANDS
from taskrig_loadgen.load.mix import NOMINAL_SERVICE_S
from taskrig_loadgen.result.store import save
from tests.support.fake_worker import FakeWorker
from tests.support.loadgen_command import Loadgen
from tests.support.results import a_result

ROOT = Path(__file__).parents[2]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with `loadgen` on the PATH and the files that examples name."""
    command = tmp_path / "bin" / "loadgen"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m taskrig_loadgen "$@"\n')
    command.chmod(0o755)
    names = ["run", *(f"{side}-{n}" for side in ("base", "new") for n in range(5))]
    for name in names:
        result = a_result(rate=100, count=400)
        result.expectations = []
        save(result, tmp_path / f"{name}.json")
    return tmp_path


def examples(help_text: str) -> str:
    match = re.search(r"^example:\n((?:  .*\n)+)", help_text, re.MULTILINE)
    assert match, help_text
    return match[1]


# chaos takes minutes and peers installs other task queues: tests and make targets of their own.
PASTED = [name for name in COMMANDS if name not in ("chaos", "peers")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command, capsys):
    assert main([command, "--help"]) == 0
    assert examples(capsys.readouterr().out).lstrip().startswith(("loadgen", "echo"))


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - set(PASTED)))
def test_the_example_of_a_long_command_can_be_read(command, capsys):
    main([command, "--help"])
    for line in examples(capsys.readouterr().out).splitlines():
        _, *arguments = shlex.split(line)
        assert entry.read(arguments).parser.prog == f"loadgen {command}"


def test_every_command_that_the_docs_show_can_be_read():
    text = (ROOT / "docs" / "loadgen.md").read_text()
    shown = re.findall(r"^(?:\| `)?(loadgen [^`|#&]*)", text.replace("\\\n", " "), re.MULTILINE)
    assert len(shown) > 12
    for line in shown:
        _, *arguments = shlex.split(line)
        if "..." not in arguments:  # left out by the docs
            assert entry.read(arguments).execute, line


@pytest.mark.parametrize("command", PASTED)
async def test_the_example_in_the_help_works_when_pasted(command, redis_url, desk):
    _, out, _ = await Loadgen(redis_url, desk)(command, "--help")
    script = "set -e\n" + examples(out)
    environment = {
        **os.environ,
        "PATH": f"{desk / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TASKRIG_REDIS__URL": redis_url,
    }
    service = {name: seconds / 5 for name, seconds in NOMINAL_SERVICE_S.items()}
    async with FakeWorker(redis_url, "async_tasks", slots=5, service_s=lambda t: service.get(t, 0)):
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            script,
            cwd=desk,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    # 4: this machine was too busy to send on time; that is said, and no fault of the example.
    assert process.returncode in (0, 4), said.decode()
