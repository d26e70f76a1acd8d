"""SIGUSR1: a worker tells what it runs, for how long, and where each handler stands."""

from __future__ import annotations

import re
import signal

from tests.support.waiting import until


def told(worker, count):
    """The lines about running tasks, once `count` of them were logged."""
    worker.signal(signal.SIGUSR1)
    until(lambda: worker.log().count(" runs: ") >= count, 10, lambda: worker.log()[-2000:])
    return [line for line in worker.log().splitlines() if " runs: " in line]


def test_sigusr1_tells_where_coroutines_and_threads_stand_and_stops_nothing(world):
    worker = world.start_worker(concurrent=3)
    world.enqueue("gate", 1)
    world.enqueue("thread", s=3)
    until(lambda: len(world.journal("start")) == 2, what="both run")

    lines = told(worker, 2)

    [gate] = [line for line in lines if "(gate)" in line]
    assert re.search(r"for \d+\.\d s, in .*sleep.* < support/handlers\.py:\d+ gate$", gate), gate
    [thread] = [line for line in lines if "(thread)" in line]
    assert re.search(r"support/handlers\.py:\d+ thread", thread), thread
    world.open_gate()
    world.all_settled()
    assert worker.drain() == 0


def test_sigusr1_tells_where_a_handler_blocks_the_event_loop(world):
    worker = world.start_worker()
    world.enqueue("block", s=3)
    until(lambda: world.journal("start"))
    [line] = told(worker, 1)
    assert re.search(r"\(block\) for .* in support/handlers\.py:\d+ block$", line), line


def test_sigusr1_is_harmless_when_nothing_runs_and_while_draining(world):
    worker = world.start_worker()
    worker.signal(signal.SIGUSR1)
    worker.logged("SIGUSR1: 0 tasks run")
    world.enqueue("gate", 1)
    until(lambda: world.journal("start"))
    worker.terminate()
    worker.logged("draining")
    assert "(gate)" in told(worker, 1)[0]
    world.open_gate()
    assert worker.exit_code() == 0
