"""Queues whose keys would be the same, as those of jobs and {jobs}, are refused."""

from __future__ import annotations

import pytest

from tests.support.processes import run_to_end
from tests.support.typed import typed
from tests.support.waiting import until
from tests.support.world import World


@pytest.fixture
def queue(redis_url, tmp_path):
    """Make worlds at queues of one server, each with a folder of its own."""
    made = []

    def at(name):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(World(redis_url, folder, name))
        return made[-1]

    yield at
    for one in made:
        one.close()


def refused(world, *flags):
    """What a worker says that will not start."""
    words = ("run", "--redis-url", world.url, "--redis-key", world.keys.queue, *flags)
    done = run_to_end("worker", *words, "--set", "http.enabled=false", cwd=world.folder)
    said = done.stdout + done.stderr
    assert done.returncode == 2 and "Traceback" not in said, said
    return said


@pytest.mark.parametrize(("first", "second"), [("jobs", "{jobs}"), ("{jobs}", "jobs")])
def test_a_second_queue_with_the_same_keys_is_refused_while_the_first_is_served(
    queue, first, second
):
    one = queue(first)
    one.start_worker()
    said = refused(queue(second))
    assert f"the queues '{first}' and '{second}' would share their keys, {{jobs}}:*" in said
    one.enqueue("note", 3)
    one.all_settled()


def test_it_is_refused_too_while_tasks_wait_in_the_first(queue):
    one = queue("jobs")
    one.start_worker().drain()
    one.enqueue("note")
    assert "'jobs' is in use" in refused(queue("{jobs}"))


def test_an_empty_queue_that_nobody_serves_any_more_gives_its_keys_to_the_other(queue):
    queue("jobs").start_worker().drain()
    other = queue("{jobs}")
    worker = other.start_worker()
    assert "were the keys of the queue 'jobs', which is empty" in worker.log()
    other.enqueue("note", 3)
    other.all_settled()
    assert "'{jobs}' is in use" in refused(queue("jobs"))


def test_a_command_at_the_other_name_says_which_one_is_meant(queue):
    one = queue("jobs")
    one.start_worker()
    for words in (("status", "--over", "0"), ("dead", "list"), ("pause",)):
        code, out, err = typed(*words, "--redis-url", one.url, "--redis-key", "{jobs}")
        assert code == 2 and out == b""
        assert "{jobs}:* are the keys of the queue 'jobs', not of '{jobs}'" in err
        assert "--redis-key jobs" in err


@pytest.mark.parametrize("name", ["redeliver", "held:note", "arrivals:urgent"])
def test_a_private_key_of_another_queue_is_refused_as_a_queue_and_as_a_list(queue, name):
    queue("jobs").start_worker().drain()
    key = "{jobs}:" + name
    assert f"'{key}' is a private key of the queue '{{jobs}}'" in refused(queue(key))
    own = queue("other")
    assert f"'{key}' is a private key of" in refused(own, "--set", f"queue.lists=[other,'{key}']")


def test_queues_with_hash_tags_or_colons_of_their_own_live_side_by_side(queue):
    worlds = [queue(name) for name in ("{app}a", "{app}b", "{app}:work", "app", "app:dead")]
    for world in worlds:
        world.start_worker()
        world.enqueue("note", 2)
    for world in worlds:
        world.all_settled()
    until(lambda: all(world.runs()[0] == 1 for world in worlds), what="each has run its own")
