"""The demo handlers take the time that they say, and do not mind being stopped."""

from __future__ import annotations

import time

import pytest

from taskrig.config.sections import TaskConfig
from taskrig.handlers.demo import fast_task, medium_task, noop, slow_task, unknown_type
from taskrig.testing import in_fake_time, run_task


@pytest.mark.parametrize(
    ("function", "takes_s"), [(fast_task, 0.5), (medium_task, 1.0), (slow_task, 2.0), (noop, 0.0)]
)
def test_each_takes_its_time_and_the_test_does_not(function, takes_s):
    began = time.monotonic()
    ran = in_fake_time(run_task(function, {"n": 1}))
    assert ran.ok
    assert takes_s <= ran.took_s < takes_s + 0.4
    assert time.monotonic() - began < 0.4


def test_a_timeout_shorter_than_its_time_makes_it_fail():
    ran = in_fake_time(run_task(slow_task, settings=TaskConfig(timeout_s=1.5)))
    assert (ran.outcome, ran.reason) == ("failed", "timeout")
    assert in_fake_time(run_task(slow_task, settings=TaskConfig(timeout_s=2.5))).ok


async def test_a_type_that_nobody_knows_is_taken_and_done():
    assert (await run_task(unknown_type, type="never_seen")).ok


async def test_any_data_will_do():
    for data in (None, [], "text", 7, {"deep": [{}]}):
        assert (await run_task(noop, data)).ok
