"""Handlers that fork: whatever a child does or gets, the worker lives, and nothing of it works in
the child."""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest

from tests.support.waiting import until

FORKING = ["fork", "fork_in_thread"]
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL]
both_ways = pytest.mark.parametrize("flags", [[], ["--processes", "2"]], ids=["one", "processes"])


class Family:
    """A worker whose handlers fork, and the children that live."""

    def __init__(self, world):
        self.world = world
        self.worker = None

    def start(self, *flags, **config):
        handlers = ["tests.support.handlers", "tests.support.forking_handlers"]
        self.worker = self.world.start_worker(
            None, *flags, handlers=handlers, **{"concurrent": 20, **config}
        )
        return self.worker

    def child(self, task_id):
        """The pid of the child that lives."""
        path = self.world.folder / f"child-{task_id}"
        until(path.exists, 20, f"child {task_id} lives")
        return int(path.read_text())

    def status(self, task_id):
        """How a child ended: its exit code, or minus its signal."""
        path = self.world.folder / f"status-{task_id}"
        until(path.exists, 20, lambda: f"child {task_id} has ended: {self.worker.log()[-2000:]}")
        return int(path.read_text())

    def is_well(self):
        """The worker does its next tasks, has heard no signal, and ends when it is told to."""
        self.world.enqueue("note", 3)
        self.world.all_settled()
        assert self.world.dead() == []
        assert not re.search("draining|reclaimed|another one in", self.worker.log())
        assert self.worker.drain() == 0


@pytest.fixture
def family(world):
    return Family(world)


ENDS = {
    "return": 0,
    "raise": 1,
    "sys.exit": 7,
    "sys.exit with a text": 1,
    "atexit": 0,
    "os._exit": 3,
    "SIGINT": 1,
    "close": 5,
    "write": 5,
    "cancel": 5,
    "own loop": 5,
}


@pytest.mark.parametrize("task_type", FORKING)
def test_children_end_as_they_would_anywhere_and_the_worker_goes_on(family, world, task_type):
    family.start()
    for how in ENDS:
        world.enqueue(task_type, how=how, id=how)
    assert {how: family.status(how) for how in ENDS} == ENDS
    family.is_well()
    assert (world.folder / "own_loop").exists()
    assert not (world.folder / "atexit").exists()
    log = family.worker.log()
    assert log.count("RuntimeError: of the child") == log.count("so long") == 1


@both_ways
def test_a_signal_to_a_child_ends_the_child_and_not_the_worker(family, world, flags):
    family.start(*flags)
    for task_type in (*FORKING, "fork_in_task"):
        for number in SIGNALS:
            world.enqueue(task_type, how="live", id=f"{task_type}-{number.name}")
    for task_type in (*FORKING, "fork_in_task"):
        for number in SIGNALS:
            os.kill(family.child(f"{task_type}-{number.name}"), number)
            ended = family.status(f"{task_type}-{number.name}")
            assert ended == (1 if number == signal.SIGINT else -number)  # KeyboardInterrupt
    family.is_well()


@pytest.mark.parametrize("first_s", [0, 0.01], ids=["in its first step", "in a later one"])
@pytest.mark.parametrize("task_type", ["fork_and_await", "fork_in_task"])
def test_a_child_that_comes_back_to_the_event_loop_runs_no_task_of_the_worker(
    family, world, task_type, first_s
):
    world.enqueue("note", 10)
    world.enqueue(task_type, how="return", first_s=first_s, id="forks")
    world.enqueue("sleep", 5, s=0.01, id="sleeps")
    family.start(concurrent=30)
    assert family.status("forks") == 1
    family.worker.logged("came back to the worker's event loop")
    family.is_well()
    runs = world.runs()
    assert (runs.pop("sleeps"), len(runs)) == (5, 10)
    assert {note.pid for note in world.journal()} == {family.worker.pid}


def test_a_child_forked_in_a_callback_runs_no_task_that_the_worker_is_about_to_begin(family, world):
    family.start(concurrent=60)
    for number in range(20):
        world.enqueue("fork_in_callback", how="return", first_s=0.01, id=number)
        world.enqueue("note", 10)
        world.enqueue("thread", 5, s=0.005)
    assert [family.status(number) for number in range(20)] == [1] * 20
    family.is_well()
    assert {note.pid for note in world.journal()} == {family.worker.pid}


@pytest.mark.parametrize("ends", ["drained", "killed"])
def test_children_that_outlive_the_worker_keep_neither_its_port_nor_its_connections(
    family, world, ends
):
    worker = family.start(http={"page": True})
    children = []
    for task_type in FORKING:
        for how in ("live", "exec"):
            world.enqueue(task_type, how=how, id=f"{task_type}-{how}", wait=False)
            children.append(family.child(f"{task_type}-{how}"))
            worker.get("/api/status")  # the page has a connection of its own
    world.all_settled()
    if ends == "drained":
        assert worker.drain() == 0
    else:
        worker.kill()
    for child in children:
        os.kill(child, 0)
    until(lambda: connections_of(world) == [], what=lambda: str(connections_of(world)))
    with socket.create_server(("127.0.0.1", worker.http_port)):
        pass  # it is free


def connections_of(world):
    """The names of the workers' connections that the server has."""
    names = [one["name"] for one in world.redis.client_list()]
    return [name for name in names if name.startswith("taskrig-")]


@both_ways
def test_the_processes_of_the_standard_library_work_in_handlers(family, world, flags):
    family.start(*flags, concurrent=2)
    for kind in ("Process", "Pool", "ProcessPoolExecutor", "subprocess"):
        for task_type in ("use", "use_in_thread"):
            world.enqueue(task_type, kind=kind, start="fork")
    for kind in ("Process", "Pool"):
        for start in ("forkserver", "spawn"):
            world.enqueue("use_in_thread", kind=kind, start=start)
    world.all_settled(60)
    assert world.totals()["succeeded"] == 12, family.worker.log()
    assert family.worker.drain() == 0


def test_workers_notice_their_parents_death_although_it_has_forked_a_child_that_lives(
    family, world
):
    worker = family.start("--processes", "2")
    (world.folder / f"fork-{worker.pid}").touch()
    child = family.child("of the parent")
    worker.kill()
    until(lambda: world.redis.zcard(world.keys.workers) == 0, 20, "both have drained")
    os.kill(child, 0)
    with socket.create_server(("127.0.0.1", worker.http_port)):
        pass
