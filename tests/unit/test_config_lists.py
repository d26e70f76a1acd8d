"""queue.lists: several lists of one queue, in order or by weights, and each wrong one."""

from __future__ import annotations

import pytest


def test_without_lists_tasks_are_taken_from_the_queues_key_alone(settings):
    queue = settings.load("queue: {key: jobs}").queue
    assert (queue.sources, queue.weights) == (("jobs",), ())


def test_lists_keep_their_order(settings):
    queue = settings.load("queue: {lists: [urgent, async_tasks, bulk]}").queue
    assert (queue.sources, queue.weights) == (("urgent", "async_tasks", "bulk"), ())


def test_lists_with_weights_part_the_claims(settings):
    queue = settings.load("queue: {lists: [urgent=6, async_tasks=3, 'a=b=1']}").queue
    assert (queue.sources, queue.weights) == (("urgent", "async_tasks", "a=b"), (6, 3, 1))


@pytest.mark.parametrize(
    ("lists", "problem"),
    [
        ("[urgent, bulk]", "must name the queue's key, async_tasks, at its place"),
        ("[urgent=6, async_tasks]", "gives some of them a weight"),
        ("['urgent=6;async_tasks=1']", "holds several lists; separate them with commas"),
        ("['urgent=6 async_tasks=1']", "holds several lists; separate them with commas"),
        ("[urgent=0, async_tasks=1]", "gives urgent no weight from 1 to 1000"),
        ("[urgent=1001, async_tasks=1]", "gives urgent no weight from 1 to 1000"),
        ("[urgent=high, async_tasks=1]", "gives urgent no weight from 1 to 1000"),
        ("['=5', async_tasks=1]", "must be a list"),
        ("['', async_tasks]", "must be a list"),
        ("[async_tasks=2, async_tasks=3]", "names async_tasks twice"),
        ("[async_tasks, async_tasks]", "names async_tasks twice"),
        ("[async_tasks, '{async_tasks}:dead']", "which is a key of the worker's own"),
        (str(["async_tasks", *"abcdefghijklmnop"]), "has room for 16"),
    ],
)
def test_lists_that_cannot_be_are_refused_in_one_line(settings, lists, problem):
    line = settings.problem(f"queue: {{lists: {lists}}}")
    assert line.startswith("config.yaml:1:")
    assert problem in line


def test_in_a_cluster_every_list_needs_the_hash_tag_of_the_key(settings):
    cluster = "redis: {cluster: true}\nqueue: {key: '{jobs}', lists: %s}"
    good = settings.load(cluster % "['urgent{jobs}', '{jobs}']").queue
    assert good.sources == ("urgent{jobs}", "{jobs}")
    line = settings.problem(cluster % "[urgent, '{jobs}']")
    assert "would not share the Cluster slot" in line and "urgent{jobs}" in line
