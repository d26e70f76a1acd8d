"""The pool of processes for tasks, its launcher and a child, where one cannot do as asked."""

from __future__ import annotations

import os
import signal
import socket
import traceback
from contextvars import copy_context

import pytest

from taskrig.authoring.registry import Registry
from taskrig.engine.execution import Execution
from taskrig.engine.inbox import Inbox
from taskrig.engine.policies import Policies
from taskrig.engine.processes import Processes, TaskProcess
from taskrig.errors import TaskrigError
from taskrig.metrics import Metrics
from taskrig.process.task_child import TaskChild
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


def a_process():
    return os.posix_spawnp("sleep", ["sleep", "60"], os.environ)


def kill(pid):
    """It has ended then, and nobody has reaped it."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def reap(pid):
    os.waitpid(pid, 0)


async def test_the_memory_of_a_process_that_has_ended_is_what_it_was_when_it_was_seen_last():
    ours, theirs = socket.socketpair()
    child = TaskProcess(1, ours)
    with theirs:
        child.pid = a_process()
        child.look()
        seen = child.memory
        kill(child.pid)
        child.look()
        assert child.memory == seen > 0
        reap(child.pid)
    child.hang_up()


def test_tasks_that_meet_resources_which_do_not_open_do_not_lengthen_the_tracebacks_of_others():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = TaskChild(ours, Policies(Registry(), {}), Registry())
        child._broken = TaskrigError("it does not open")
        execution, run = Execution(Delivery("w:1", b"")), copy_context().run
        raised = [run(child._outcome, execution).__traceback__ for _ in range(3)]
        child._loop.close()
    assert len({len(list(traceback.walk_tb(one))) for one in raised}) == 1
