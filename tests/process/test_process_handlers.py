"""Handlers that run in processes: what happens to one of them happens to no other task."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path

import pytest

from tests.support.waiting import until

HANDLERS = ["tests.support.process_handlers", "tests.support.handlers"]


def processes_of(world):
    """The workers of this world and all that they have started: pid -> state."""
    mark, found, dead = f"TASKRIG_TEST_FOLDER={world.folder}\0".encode(), {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state == "Z":  # has no environment any more
                dead[int(folder.name)] = int(parent)
            elif mark in (folder / "environ").read_bytes():
                found[int(folder.name)] = state
        except OSError:
            continue
    return {**found, **{pid: "Z" for pid, parent in dead.items() if parent in found}}


@pytest.fixture
def start(world):
    """Start a worker with two slots for processes; at the end none of its processes is left."""

    def start_worker(**settings):
        worker = {"process_slots": 2, **settings.pop("worker", {})}
        return world.start_worker(
            **{"concurrent": 4, "handlers": HANDLERS, "worker": worker, **settings}
        )

    yield start_worker
    for worker in world.workers:
        worker.close()
    until(lambda: not processes_of(world), 10, lambda: f"{processes_of(world)}")


@pytest.mark.parametrize(
    ("kind", "reason", "says"),
    [
        ("sleeps", "timeout", "timeout"),
        ("ignores", "timeout", "timeout"),
        ("catches", "timeout", "timeout"),
        ("grows", "memory", "MiB of 200 MiB"),
        ("bursts", "memory", "MemoryError"),
        ("segfaults", "crashed", "SIGSEGV"),
        ("exits", "crashed", "exit code 3"),
        ("hangs_up", "crashed", "SIGKILL"),
        ("forks", "timeout", "timeout"),
        ("mute", "error", "closed file"),
        ("loud", "", ""),
    ],
)
def test_a_task_that_ends_its_process_fails_alone(world, start, kind, reason, says):
    world.enqueue("good", 500)
    world.enqueue(kind, id="bad")
    for index in range(500, 1000):
        world.enqueue("good", id=index)
    worker = start()
    world.all_settled(60)
    assert {count for one, count in world.runs().items() if one != "bad"} == {1}
    assert len(world.runs()) == 1000
    failed = world.dead()
    assert [one["reason"].decode() for one in failed] == [reason][: bool(reason)]
    assert all(says in one["error"].decode() for one in failed), failed
    assert world.totals()["succeeded"] == 1001 - len(failed)
    until(lambda: "Z" not in processes_of(world).values(), what="no zombie is left")
    assert worker.drain() == 0
    if kind == "sleeps":
        assert "process_handlers.py" in failed[0]["traceback"].decode()


def pids_of(world, event="start"):
    return {one.id: one.pid for one in world.journal(event)}


def test_context_log_lines_failures_and_retries_are_as_elsewhere(world, start):
    world.enqueue("fail", id="retried", text="no luck")
    world.enqueue("fail", id="rejected", reject=True)
    worker = start()
    world.all_settled()
    by_reason = {one["reason"].decode(): one for one in world.dead()}
    assert set(by_reason) == {"error", "rejected"}
    assert by_reason["error"]["error"] == b"ValueError: no luck"
    assert b'raise ValueError(data.get("text"))' in by_reason["error"]["traceback"]
    assert world.totals()["retried"] == 1
    assert re.search(r"\(fail\): attempt 2, 0 left, of \w+:\d+", worker.log())
    assert "ValueError: no luck" in worker.log()


def test_a_crash_is_retried_where_its_type_says_so_and_is_no_poison(world, start):
    world.enqueue("segfaults", id="bad")
    worker = start(tasks={"segfaults": {"retries": 4, "backoff": 0}}, worker={"max_deliveries": 2})
    world.all_settled()
    assert [one["reason"] for one in world.dead()] == [b"crashed"]
    assert world.totals()["retried"] == 4
    assert worker.metric("worker_task_process_ends_total", reason="crashed") == 5


def test_coroutines_run_in_a_loop_of_their_own_and_stop_at_the_timeout(world, start):
    world.enqueue("good_coroutine", 20)
    world.enqueue("good_in_thread", id="in a thread", s=0.4)
    world.enqueue("hold_coroutine", id="late", s=60)
    worker = start()
    world.all_settled()
    assert world.totals()["succeeded"] == 21
    assert [one["reason"] for one in world.dead()] == [b"timeout"]
    assert [one.id for one in world.journal("CancelledError")] == ["late"]  # it was told to end
    assert "hold_coroutine" in world.dead()[0]["traceback"].decode()
    assert pids_of(world)["in a thread"] == worker.pid
    assert "held the event loop" not in worker.log()


def test_a_resource_is_opened_once_in_each_process(world, start):
    world.enqueue("uses_resource", 20)
    start()
    world.all_settled()
    assert world.totals()["succeeded"] == 20


CANCELLED = """
import asyncio, os, pathlib
from taskrig import resource
from tests.support.process_handlers import good

@resource
async def cancelled():
    opened = pathlib.Path(os.environ["TASKRIG_TEST_FOLDER"], "opened")
    if opened.exists():  # in the worker it opens
        raise asyncio.CancelledError
    opened.touch()
    yield
"""


def test_a_resource_that_is_cancelled_while_it_opens_keeps_no_task_waiting(world, start):
    (world.folder / "pool.py").write_text(CANCELLED)
    world.enqueue("good", 2)
    start(handlers=["pool"])
    world.all_settled()
    says = "pool.cancelled does not open: CancelledError"
    assert all(says in one["error"].decode() for one in world.dead()), world.dead()
    assert len(world.dead()) == 2


ROUND = """
import asyncio, os
from taskrig import handler, middleware
from tests.support.handlers import _note

@middleware
async def noting(at, call):
    _note("before", {"id": at.task.data["id"]})
    try:
        await call()
    finally:
        _note("after", {"id": at.task.data["id"]})

@handler("with_loop", run_in="process")
def with_loop(data):
    asyncio.run(asyncio.sleep(0))
    _note("ran", data)

@handler("awaits", run_in="process")
async def awaits(data):
    _note("ran", data)
    raise ValueError("as asked")
"""


def test_middleware_runs_in_the_process_around_its_handler(world, start):
    (world.folder / "around.py").write_text(ROUND)
    for kind in ("with_loop", "awaits"):
        world.enqueue(kind, id=kind)
    worker = start(handlers=["around"])
    world.all_settled()
    assert (world.totals()["succeeded"], world.totals()["failed"]) == (1, 1)
    for kind in ("with_loop", "awaits"):
        noted = [one for one in world.journal() if one.id == kind]
        assert [one.event for one in noted] == ["before", "ran", "after"]
        assert len({one.pid for one in noted}) == 1 and noted[0].pid != worker.pid


def test_a_process_that_has_run_its_number_of_tasks_is_replaced(world, start):
    world.enqueue("good", 12)
    worker = start(tasks={"good": {"max_tasks_per_process": 4}}, worker={"process_slots": 1})
    world.all_settled()
    pids = [one.pid for one in world.journal("start")]
    assert len(set(pids)) == 3
    assert worker.metric("worker_task_process_ends_total", reason="max_tasks") >= 2


def test_a_drain_lets_a_process_finish_and_tells_it(world, start):
    world.enqueue("until_drain", 2)
    worker = start()
    until(lambda: len(world.runs()) == 2, what="both run")
    assert worker.drain() == 0
    assert world.totals()["succeeded"] == 2


def test_what_does_not_finish_within_the_drain_is_given_back_and_its_process_ends(world, start):
    world.enqueue("hold", 3, s=60)
    worker = start(worker={"drain_timeout": 0.2})
    until(lambda: len(world.runs()) == 2, what="two run, one waits for a process")
    assert worker.drain() == 0
    assert world.totals()["released"] == 3 and world.waiting() == 3
    assert not processes_of(world)


def test_all_processes_die_with_a_worker_that_is_killed(world, start):
    world.enqueue("forks", 2)
    worker = start(tasks={"forks": {"timeout": 60}})
    until(lambda: len(processes_of(world)) >= 1 + 1 + 2 + 6, what="all are started")
    worker.kill()
    until(lambda: not processes_of(world), 10, lambda: f"{processes_of(world)}")


def running_in_process(worker):
    """The first task that runs, as the worker describes it, once its process is known."""
    running = worker.status()["running"]
    return running[0] if running and running[0].get("memory", 0) > 2**20 else None


def test_an_operator_cancels_a_task_in_a_process_at_once(world, start, type_in):
    world.enqueue("ignores", id="bad")
    worker = start(tasks={"ignores": {"timeout": 60}})
    until(lambda: running_in_process(worker), what="its process is told")
    running = running_in_process(worker)
    assert f"process {running['pid']}" in type_in("status")
    type_in("cancel", running["tag"])
    world.all_settled(10)
    assert [one["reason"] for one in world.dead()] == [b"cancelled"]
    assert running["pid"] not in processes_of(world)


def test_sigusr1_tells_where_a_process_stands(world, start):
    world.enqueue("hold", id="one", s=3)
    worker = start()
    until(lambda: world.runs()["one"], what="it runs")
    worker.signal(signal.SIGUSR1)
    worker.logged(f"in the process {pids_of(world)['one']}, whose stack follows")
    assert re.search(r'process_handlers.py", line \d+ in hold', worker.logged("in hold"))


THREADED = """
import threading, time
threading.Thread(target=time.sleep, args=(600,), daemon=True, name="eager").start()
from tests.support.process_handlers import good, segfaults
"""


def test_a_module_that_starts_threads_gets_processes_that_are_not_forked(world, start):
    (world.folder / "threaded.py").write_text(THREADED)
    world.enqueue("good", 20)
    world.enqueue("segfaults", id="bad")
    worker = start(handlers=["threaded"])
    world.all_settled(40)
    assert world.totals()["succeeded"] == 20
    assert "starts threads when it is imported (eager)" in worker.log()
    worker.kill()


SILENCED = """
import logging.config
from taskrig import context
from tests.support.process_handlers import handler
logging.config.dictConfig({"version": 1, "root": {"level": "ERROR"}})

@handler("talks", run_in="process")
def talks(data):
    context().log.error("it is heard")
"""


def test_a_module_that_sets_up_logging_and_starts_threads_does_not_silence_its_processes(
    world, start
):
    (world.folder / "silenced.py").write_text(THREADED + SILENCED)
    world.enqueue("talks")
    worker = start(handlers=["silenced"])
    world.all_settled(40)
    worker.logged("it is heard")


def test_memory_below_what_a_process_has_at_first_is_refused_at_the_start(world, start):
    worker = start(tasks={"good": {"memory": "2MiB"}}, wait=False)
    assert worker.exit_code() == 2
    assert "memory of good: 2MiB is less than a process has before its first task" in worker.log()


def test_processes_work_under_a_supervisor_too(world, start):
    world.enqueue("good", 40)
    world.enqueue("exits", id="bad")
    worker = start(worker={"processes": 2, "process_slots": 1})
    world.all_settled(40)
    assert world.totals()["succeeded"] == 40
    assert worker.drain() == 0
    until(lambda: not processes_of(world), 10, lambda: f"{processes_of(world)}")


def maker_of(worker):
    """The process that makes those of tasks."""
    return int(Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text())


def kill_maker_of(world, worker):
    maker = maker_of(worker)
    os.kill(maker, signal.SIGKILL)
    until(lambda: processes_of(world).get(maker) in (None, "Z"), what="the maker has ended")


def test_a_maker_of_processes_that_is_killed_is_replaced_and_what_ran_runs_again(world, start):
    worker = start()
    world.enqueue("until_drain", 2, id="runs")
    until(lambda: world.runs()["runs"] == 2, what="two run")
    world.enqueue("good", id="waits")
    kill_maker_of(world, worker)
    until(lambda: world.runs()["runs"] == 4, 60, "both run again")
    assert "the process that starts those of tasks has ended by SIGKILL; another" in worker.log()
    assert world.dead() == [] and world.totals()["released"] == 2
    assert worker.drain(40) == 0
    world.assert_conserved()
    assert world.totals()["succeeded"] + world.waiting() == 3


@pytest.mark.parametrize("module", ["threads", "none"])
def test_tasks_that_come_while_the_maker_of_processes_dies_run(world, start, module):
    handlers = HANDLERS
    if module == "threads":
        (world.folder / "threaded.py").write_text(THREADED)
        handlers = ["threaded"]
    worker = start(handlers=handlers)
    worker.pause()  # what comes now it learns in one turn: tasks, and that the maker has died
    world.enqueue("good", 4)
    kill_maker_of(world, worker)
    worker.resume()
    world.all_settled(60)
    assert world.totals()["succeeded"] == 4
    assert worker.drain(40) == 0


def test_a_worker_whose_makers_of_processes_are_killed_again_and_again_ends(world, start):
    worker = start()
    kill_maker_of(world, worker)
    worker.logged("another one is started")
    until(lambda: maker_of(worker), what="there is another")
    world.enqueue("hold", 4, s=30)
    until(lambda: len(world.runs()) == 2, 60, "two run")
    kill_maker_of(world, worker)
    assert worker.exit_code(40) == 1
    assert "the process that starts those of tasks has ended by SIGKILL again" in worker.log()
    until(lambda: not processes_of(world), 10, lambda: f"{processes_of(world)}")
    world.assert_conserved()


NO_ROOM = """
import errno, os
from pathlib import Path
from tests.support.process_handlers import good, hold, sleeps, until_drain

fork, full = os.fork, Path(os.environ["TASKRIG_TEST_FOLDER"], "full")

def fork_if_there_is_room():
    if full.exists():
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    return fork()

os.fork = fork_if_there_is_room
"""


def test_where_no_process_can_be_made_for_now_tasks_wait_and_no_other_is_hurt(world, start):
    (world.folder / "crowded.py").write_text(NO_ROOM)
    worker = start(handlers=["crowded", "tests.support.handlers"])
    world.enqueue("until_drain", id="runs")
    until(lambda: world.runs()["runs"], what="it runs")
    (world.folder / "full").touch()
    world.enqueue("good", id="later")
    worker.logged("cannot make a process for tasks (Resource temporarily unavailable)")
    assert not world.runs()["later"]
    (world.folder / "full").unlink()
    until(lambda: world.runs()["later"], 60, "it runs when there is room")
    assert worker.drain(40) == 0
    assert world.totals()["succeeded"] == 2


def test_a_worker_that_cannot_start_the_maker_of_its_processes_says_so(world, start):
    (world.folder / "crowded.py").write_text(NO_ROOM)
    (world.folder / "full").touch()
    worker = start(handlers=["crowded"], wait=False)
    assert worker.exit_code(40) == 1
    says = "Resource temporarily unavailable, when the process that starts those of tasks"
    assert says in worker.log() and "unforeseen" not in worker.log()


def test_a_task_whose_process_cannot_be_made_is_given_back_at_a_drain(world, start):
    (world.folder / "crowded.py").write_text(NO_ROOM)
    worker = start(handlers=["crowded"], worker={"drain_timeout": 0.2})
    (world.folder / "full").touch()
    world.enqueue("good")
    worker.logged("cannot make a process")
    assert worker.drain(40) == 0
    assert world.waiting() == 1 and world.totals()["released"] == 1


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # one that has ended by the signal before
            os.kill(pid, number)


@pytest.mark.parametrize("first", ["the worker", "its processes"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_that_reaches_every_process_lets_tasks_in_processes_finish(
    world, start, number, first
):
    world.enqueue("good", 2)
    world.enqueue("hold", 2, s=1)
    worker = start()
    until(lambda: len([one for one in world.journal("start") if one.id in (0, 1)]) == 4)
    told = sorted(processes_of(world), reverse=first != "the worker")
    signal_all(told, number)
    assert worker.exit_code(40) == 0
    assert world.dead() == []
    assert world.totals()["succeeded"] == 4


def test_a_stop_that_reaches_every_process_gives_back_what_does_not_finish(world, start):
    world.enqueue("hold", 2, s=60)
    worker = start(worker={"drain_timeout": 0.5})
    until(lambda: len(world.runs()) == 2, 60, "two run")
    signal_all(processes_of(world), signal.SIGTERM)
    assert worker.exit_code(40) == 0
    assert world.dead() == []
    assert world.waiting() == 2 and world.totals()["released"] == 2


def test_a_stop_that_reaches_every_process_of_a_supervisor_too_fails_no_task(world, start):
    world.enqueue("hold", 2, s=2)
    worker = start(worker={"processes": 2, "process_slots": 1})
    until(lambda: len(world.runs()) == 2, 60, "two run")
    signal_all(processes_of(world), signal.SIGTERM)
    assert worker.exit_code(40) == 0
    assert world.dead() == []
    assert world.totals()["succeeded"] + world.waiting() == 2


SLOWLY = """
import os, pathlib, time
with pathlib.Path(os.environ["TASKRIG_TEST_FOLDER"], "importing").open("a") as at:
    at.write(f"{os.getpid()}\\n")
time.sleep(1)
"""


def test_a_stop_that_reaches_a_process_that_still_imports_its_handlers_fails_no_task(world, start):
    (world.folder / "slow.py").write_text(SLOWLY + THREADED)
    worker = start(handlers=["slow"])
    world.enqueue("good")
    imports = world.folder / "importing"
    until(lambda: len(imports.read_text().split()) == 2, 60, "a process imports too")
    signal_all(processes_of(world), signal.SIGTERM)
    assert worker.exit_code(40) == 0
    assert world.dead() == []
    assert world.totals()["succeeded"] == 1


SMALL = """
import resource
from tests.support.process_handlers import good, grows
resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))
"""


def test_memory_above_what_the_system_allows_is_no_reason_to_fail(world, start):
    (world.folder / "small.py").write_text(SMALL)
    world.enqueue("good", 2)
    worker = start(handlers=["small"], tasks={"good": {"memory": "2GiB"}})
    world.all_settled(60)
    assert world.totals()["succeeded"] == 2, (world.dead(), worker.log())
