"""`loadgen` asks before it runs handlers that are not for tests."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.support.processes import run_to_end

COMMAND = ["--mix", "note=3", "--allow-unknown", "--redis-url"]


def test_without_a_terminal_and_yes_no_real_handler_runs(world):
    world.start_worker("one")
    for command in ([], ["drain", "--backlog", "3"], ["add"]):
        done = run_to_end("loadgen", *command, *COMMAND, world.url, cwd=world.folder)
        assert done.returncode == 2
        assert "has 1 live worker: 'note' run real handlers there" in done.stderr
        assert "add --yes to go on" in done.stderr
    assert not world.redis.exists(world.keys.queue, world.keys.paused)
    assert world.totals().get("succeeded", 0) == 0

    done = run_to_end("loadgen", "--yes", *COMMAND, world.url, cwd=world.folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("answer", "code", "ran"), [("y\n", 0, 3), ("n\n", 2, 0), (signal.SIGINT, 130, 0)]
)
def test_the_person_at_the_terminal_decides(answer, code, ran, world):
    world.start_worker("one")
    ours, terminal = pty.openpty()
    command = [sys.executable, "-m", "taskrig_loadgen", *COMMAND, world.url]
    process = subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=world.folder
    )
    try:
        said = b""
        while b"Go on? [y/N]" not in said:
            said += os.read(process.stderr.fileno(), 1000)
            assert process.poll() is None, said
        if isinstance(answer, str):
            os.write(ours, answer.encode())
        else:
            process.send_signal(answer)
        process.communicate(timeout=30)
    finally:
        process.kill()
        os.close(ours)
        os.close(terminal)
    assert process.returncode == code
    assert world.totals().get("succeeded", 0) == ran


def test_the_demo_is_no_question(world):
    world.start_worker("one", handlers=["taskrig.handlers.demo"])
    done = run_to_end("loadgen", "--mix", "fast=2", "--redis-url", world.url, cwd=world.folder)
    assert done.returncode == 0, done.stderr
    assert "2 sent = 2 succeeded" in done.stdout
