"""The pool of processes for tasks, with a launcher that cannot do what it is asked for."""

from __future__ import annotations

import os
import socket

import pytest

from taskrig.engine.execution import Execution
from taskrig.engine.inbox import Inbox
from taskrig.engine.processes import Processes
from taskrig.metrics import Metrics
from taskrig.process.task_processes import Launcher
from taskrig.task import Delivery


class NobodyThere:
    """The worker's end of a launcher whose process has been killed."""

    def __init__(self):
        self.asked = 0
        self._read, self._write = os.pipe()

    def launch(self):
        self.asked += 1
        assert self.asked < 100, "it is asked for processes without end"
        ours, theirs = socket.socketpair()
        theirs.close()
        return self.asked, ours

    def signal(self, number, what):
        pass

    def news(self):
        return []

    def fileno(self):
        return self._read

    def restart(self):
        pass

    def close(self):
        os.close(self._read)
        os.close(self._write)


async def test_where_no_process_can_be_made_a_task_waits_and_none_is_asked_for_without_end():
    launcher = NobodyThere()
    pool = Processes(launcher, 2, Inbox(), Metrics((), 1, "", ""))
    execution = Execution(Delivery("w:1", b""))
    pool.run(execution, lambda _: None)
    assert launcher.asked == 1
    assert execution.disposition is None
    assert not pool.children
    await pool.close()


def test_a_launcher_that_dies_with_words_unread_has_ended_like_any_other():
    ours, theirs = socket.socketpair()
    launcher = Launcher(ours, 0, "template")
    launcher.launch()[1].close()
    theirs.close()
    with ours, pytest.raises(EOFError):
        launcher.news()
