"""A handler whose code reaches for what is the worker's: it lives on, or it ends loudly."""

from __future__ import annotations

import signal

import pytest

HOSTILE = ["tests.support.hostile_handlers"]


def start(world, kind, **data):
    """A worker that has run one such task."""
    worker = world.start_worker(handlers=HOSTILE)
    world.enqueue(kind, **data)
    return worker


@pytest.mark.parametrize(
    "named", ["", "Service.run", "Consumer.run", "Consumer._obey", "repeat", "BlockingPop._run"]
)
def test_a_handler_that_cancels_tasks_of_the_worker_ends_it_loudly_and_loses_nothing(world, named):
    worker = start(world, "cancels_all", named=named)
    world.enqueue("waits", 3)
    assert worker.exit_code(20) == 1
    assert "stopping: a handler's code cancelled " in worker.log()
    assert named in worker.log()
    assert "CRITICAL" not in worker.log()
    world.assert_conserved()


def test_a_handler_that_cancels_everything_on_and_on_ends_the_worker_all_the_same(world):
    worker = start(world, "cancels_on_and_on")
    assert worker.exit_code(20) == 1
    assert "a handler's code cancelled Service.run" in worker.log()
    world.assert_conserved()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("stops_loop", "a handler's code stopped the event loop"),
        ("closes_loop", "Cannot close a running event loop"),
        ("raises_past_its_task", "a handler's code raised UnprintableExit (its message cannot"),
        ("flattens_a_little", "a handler's code had set the recursion limit to 500"),
        ("shuts_executor", "done in"),
    ],
)
def test_a_worker_goes_on_after_a_handler_that_meddles_with_its_loop(world, kind, says):
    worker = start(world, kind)
    worker.logged(says)
    world.enqueue("well", 20)
    world.all_settled()
    assert worker.drain() == 0
    assert "CRITICAL" not in worker.log()


def test_a_worker_whose_loop_was_closed_ends_loudly(world):
    worker = start(world, "stops_and_closes_loop")
    assert worker.exit_code(20) == 1
    assert "CRITICAL the worker broke: RuntimeError: Event loop is closed" in worker.log()
    world.assert_conserved()


@pytest.mark.parametrize("kind", ["flattens", "flattens_in_thread"])
def test_without_room_for_its_calls_a_worker_ends_loudly(world, kind):
    worker = start(world, kind)
    assert worker.exit_code(20) == 1
    assert "a handler's code had set the recursion limit to" in worker.log()
    world.assert_conserved()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_handler_that_takes_the_signals_does_not_keep_the_worker_from_ending(world, number):
    worker = start(world, "takes_signals")
    worker.logged("took SIGTERM from the worker")
    worker.signal(signal.SIGUSR1)
    worker.logged("SIGUSR1: 0 tasks run")
    worker.signal(number)
    assert worker.exit_code() == 0
    assert "draining" in worker.log()
