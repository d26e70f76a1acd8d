"""What does not answer does not hold the end of a worker: Redis, a child, a resource, a thread."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.waiting import until

PATIENT = {"socket_timeout": 30}  # one call to a server that is silent may take this long
HANGING = ["tests.support.handlers", "tests.support.hanging"]


def ends_soon(worker, number=signal.SIGTERM):
    """Its exit code; what hangs would take 30 s and more."""
    began = time.monotonic()
    worker.signal(number)
    code = worker.exit_code(25)
    print(f"ended {time.monotonic() - began:.1f} s after the signal")
    return code


@pytest.fixture
def frozen(server, world_on):
    """A world on a server of its own, which `freeze` stops."""

    class Frozen:
        def __init__(self):
            self.server = server()
            self.world = world_on(self.server.url)

        def start(self, *flags, **config):
            return self.world.start_worker(None, *flags, redis=PATIENT, **config)

        def freeze(self, worker):
            # Something is under way: an idle worker asks every 0.2 s.
            self.server.pause()
            until(lambda: asks_in_vain(self.server), what="a question that is not answered")

    def asks_in_vain(server):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, _, _, queues, *_ = line.split()
            if int(local.split(":")[1], 16) == server.port and int(queues.split(":")[1], 16) > 0:
                return True
        return False

    one = Frozen()
    yield one
    one.server.resume()


@pytest.mark.parametrize("flags", [[], ["--processes", "2"]], ids=["one process", "two processes"])
def test_an_idle_worker_does_not_wait_for_a_redis_that_is_silent(frozen, flags):
    worker = frozen.start(*flags)
    frozen.freeze(worker)
    assert ends_soon(worker) == 0
    assert "handler" not in worker.log()


@pytest.mark.parametrize("kind", ["sleep", "thread"])
@pytest.mark.parametrize("signals", [1, 2])
def test_a_busy_worker_ends_in_time_blames_redis_and_loses_nothing(frozen, kind, signals):
    world = frozen.world
    world.enqueue(kind, 3, s=60)
    worker = frozen.start(worker={"drain_timeout": 0.5 if signals == 1 else 60})
    until(lambda: len(world.journal("start")) == 3, what="three tasks run")
    frozen.freeze(worker)
    if signals == 2:
        worker.terminate()
        worker.logged("draining")
    assert ends_soon(worker) == 3
    assert "3 tasks stay in flight" in worker.log()
    assert "blocks the event loop" not in worker.log()
    frozen.server.resume()
    # What was given back may reach Redis as it wakes: then it waits, and is not in flight.
    assert (world.in_flight() + world.waiting(), world.dead()) == (3, [])
    world.assert_conserved()


def test_a_worker_that_cannot_start_since_redis_is_silent_ends_at_a_signal(frozen):
    frozen.server.pause()
    worker = frozen.world.start_worker(wait=False, redis=PATIENT)
    worker.logged("configured by")
    until(lambda: worker.get("/livez")[0] == 200, what="it waits for Redis")
    assert ends_soon(worker) == 0
    assert "stopped before the start: SIGTERM" in worker.log()


def test_a_resource_that_does_not_open_cannot_hold_the_end_and_those_before_it_are_closed(world):
    (world.folder / "hang").touch()
    worker = world.start_worker(wait=False, handlers=HANGING)
    until((world.folder / "opening").exists, 20, "the second resource opens")
    assert ends_soon(worker) == 0
    assert (world.folder / "closed").exists()
    assert "Traceback" not in worker.log()


@pytest.mark.parametrize("kind", ["leaves_a_thread", "leaves_a_call", "leaves_a_process"])
def test_what_a_handler_leaves_running_cannot_hold_the_end(world, kind):
    worker = world.start_worker(handlers=HANGING)
    world.enqueue(kind)
    world.all_settled()
    if kind == "leaves_a_process":
        until((world.folder / "lives").exists, what="the process lives")
    try:
        assert ends_soon(worker) == 0
    finally:
        (world.folder / "end").touch()
    assert "something that a handler started does not end" in worker.log()


def test_threads_that_have_delivered_their_results_are_not_called_unstoppable(world):
    world.enqueue("slow_to_end", 3)
    worker = world.start_worker(None, "--max-tasks", "3", wait=False, handlers=HANGING)
    worker.ends_well(20)
    assert world.totals()["succeeded"] == 3
    assert "would not stop" not in worker.log()


class Family:
    """Three processes under a parent, some of them stopped."""

    def __init__(self, world, *modules):
        self.worker = world.start_worker(
            None,
            "--processes",
            "3",
            handlers=["tests.support.handlers", *modules],
            worker={"drain_timeout": 0.5},
        )
        children = Path(f"/proc/{self.worker.pid}/task/{self.worker.pid}/children").read_text()
        self.pids = [int(pid) for pid in children.split()]
        assert len(self.pids) == 3

    def freeze(self, *pids):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)


@pytest.fixture
def family(world):
    made = []

    def make(*modules):
        made.append(Family(world, *modules))
        return made[-1]

    yield make
    for pid in (pid for one in made for pid in one.pids):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_a_stopped_process_is_woken_to_drain(world, family):
    family = family()
    world.enqueue("gate", 10)
    until(lambda: world.in_flight() == 10, what="they run")
    family.freeze(*family.pids)
    assert ends_soon(family.worker) == 0
    assert (world.in_flight(), world.waiting()) == (0, 10)


@contextlib.contextmanager
def kept_frozen(pid):
    """Stopped again whenever it was woken: it makes next to no progress."""
    over = threading.Event()

    def freeze():
        with contextlib.suppress(ProcessLookupError):
            while not over.wait(0.002):
                os.kill(pid, signal.SIGSTOP)

    thread = threading.Thread(target=freeze, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("signals", [1, 2])
def test_a_process_that_stays_frozen_is_killed_in_time_and_what_it_held_is_reclaimed(
    world, family, signals
):
    family = family("tests.support.impatient")
    world.enqueue("gate", 15)
    until(lambda: world.in_flight() == 15, what="they run")
    with kept_frozen(family.pids[0]):
        for _ in range(signals):
            family.worker.terminate()
            family.worker.logged("passed on to 3")
        assert family.worker.exit_code(25) == 1
    assert "does not end: killed" in family.worker.log()
    world.open_gate()
    world.start_worker("another")
    world.all_settled()
    assert world.dead() == []


def test_frozen_processes_delay_neither_probes_nor_signals_by_their_number(world, family):
    family = family()
    family.freeze(*family.pids)
    began = time.monotonic()
    status, said = family.worker.get("/livez", timeout_s=20)
    assert (status, "no answer within" in said or "timed out" in said) == (503, True), said
    assert time.monotonic() - began < 5  # 2 s for each of three would be more
    assert ends_soon(family.worker) == 0
