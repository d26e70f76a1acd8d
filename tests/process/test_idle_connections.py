"""Connections that are idle are cut on the way to Redis: by its timeout, by balancers."""

from __future__ import annotations

import pytest

from loadgen.chaos.fault_proxy import FaultProxy
from tests.support.waiting import until
from tests.support.world import LEASE_S


@pytest.fixture
def own(server):
    return server()


@pytest.fixture
def wire(own):
    one = FaultProxy("127.0.0.1", own.port).start()
    yield one
    one.close()


@pytest.fixture
def world(wire, own, world_on):
    return world_on(f"redis://127.0.0.1:{wire.port}/0")


def test_a_killed_workers_task_is_run_by_another_whose_idle_connections_are_cut(wire, world):
    """The lease is renewed every third of its length: each time on a connection that was cut."""
    world.enqueue("gate", id="held")
    doomed = world.start_worker("doomed")
    until(lambda: world.runs()["held"] == 1, what="the task runs")
    wire.cut_idle(LEASE_S / 6)
    rescuer = world.start_worker("rescuer")
    doomed.kill()
    until(lambda: world.runs()["held"] == 2, 15 * LEASE_S, "the task runs again")
    world.open_gate()
    world.all_settled()
    assert rescuer.drain() == 0
