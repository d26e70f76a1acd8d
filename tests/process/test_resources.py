"""Resources and middleware in a real worker."""

from __future__ import annotations

from tests.support.said import said


def test_a_resource_is_open_from_before_the_first_task_to_after_the_last(world):
    world.enqueue("uses_pool", 2)
    worker = world.start_worker("one", handlers=["tests.support.with_resource"], concurrent=1)
    world.all_settled()
    assert worker.drain() == 0
    events = [line["event"] for line in said(world.folder)]
    assert events == ["open", *["around uses_pool", "the pool"] * 2, "close"]
