"""What exchange.lua is told of an execution."""

from __future__ import annotations

import pytest

from taskrig.engine.dispositions import SUCCEEDED, Failed
from taskrig.engine.execution import Execution, settlement_of
from taskrig.task import Delivery, decode

RAW = b'{"type": "t", "run": "abc:7"}'


@pytest.mark.parametrize(
    ("disposition", "ended", "times"),
    [
        (SUCCEEDED, 12.5, "110.000000 112.500000"),
        (Failed("no_handler", ""), 0.0, "110.000000 110.000000"),
    ],
)
def test_the_record_of_a_task_that_ended_without_a_run_has_a_service_of_0(
    disposition, ended, times
):
    execution = Execution(Delivery("w:1", RAW), decode(RAW), started=10.0, ended=ended)
    execution.disposition = disposition

    record = settlement_of(execution, lambda at: 100.0 + at).record

    assert record == f"7 {disposition.outcome.value} {times} w 1"
