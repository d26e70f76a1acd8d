"""How long after kill -9 a task runs again, with the default lease. Prints median and worst."""

from __future__ import annotations

import statistics
from functools import partial
from pathlib import Path

import pytest

from tests.support.waiting import until
from tests.support.world import World

LEASE_S = 15.0  # the default
PAIRS = 5  # watched side by side
ROUNDS = 4


@pytest.fixture
def worlds(redis_url, tmp_path):
    made = []
    for number in range(PAIRS):
        folder = Path(tmp_path / f"pair{number}")
        folder.mkdir()
        made.append(World(redis_url, folder, queue=f"pair{number}"))
    yield made
    for world in made:
        world.close()


def test_a_live_worker_has_a_dead_ones_task_within_two_leases_twenty_times(worlds):
    settings = {"lease": LEASE_S, "interval": 1}
    for world in worlds:
        world.start_worker("survivor", concurrent=50, worker=settings)
    took_s = []
    for turn in range(ROUNDS):
        killed = {}
        for world in worlds:
            world.redis.set(world.keys.paused, "1")
            doomed = world.start_worker(f"doomed{turn}", worker=settings)
            hold_one(world, doomed, turn)
            killed[world] = doomed
        for world, doomed in killed.items():
            doomed.kill()
            took_s.append(world.now())
        for number, world in enumerate(worlds, start=len(took_s) - PAIRS):
            again = partial(ran_twice, world, turn)
            until(again, 3 * LEASE_S, "the task runs again")
            took_s[number] = world.journal("start")[-1].at - took_s[number]
    print(
        f"\nkill -9 to running again, {len(took_s)} times, lease {LEASE_S:g} s: "
        f"median {statistics.median(took_s):.2f} s, worst {max(took_s):.2f} s"
    )
    assert max(took_s) <= 2 * LEASE_S


def ran_twice(world, turn):
    return world.runs()[turn] == 2


def hold_one(world, doomed, turn):
    """Let `doomed`, and not the survivor, claim one task."""
    survivor = world.workers[0]
    # One that is stopped with a blocking move pending would still get the task.
    until(lambda: not holds_a_move(world, survivor), 5, "the paused queue ends the survivor's move")
    survivor.pause()  # for less than a third of its lease: it misses nothing
    world.redis.delete(world.keys.paused)
    world.enqueue("gate", id=turn)
    until(lambda: world.runs()[turn] == 1, 4, "the doomed worker holds the task")
    survivor.resume()
    assert world.journal("start")[-1].pid == doomed.pid


def holds_a_move(world, worker):
    """Whether the server holds a blocking move of this worker."""
    of_it = [one for one in world.redis.client_list() if worker.status()["id"] in one["name"]]
    assert of_it, "its connections carry its id"
    return any("b" in one["flags"] for one in of_it)
