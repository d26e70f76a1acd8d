"""The chaos program: what is broken when, and when the promise counts as kept."""

from __future__ import annotations

from collections import Counter

import pytest

from taskrig_loadgen.chaos.faults import KILL, OTHERS, Injected
from taskrig_loadgen.chaos.program import ChaosReport, schedule
from tests.support.results import a_result


def test_the_three_minute_program_has_twenty_kills_six_outages_and_every_kind():
    planned = [fault for _, fault in schedule(180)]
    counts = Counter(fault.name for fault in planned)
    assert counts[KILL.name] >= 20
    assert sum(fault.is_outage for fault in planned) >= 6
    assert {fault.name for fault in OTHERS} <= set(counts)


def test_the_program_is_the_same_every_time_and_leaves_the_end_quiet():
    assert schedule(60) == schedule(60)
    assert all(at_s < 57 for at_s, _ in schedule(60))


def report(**changes):
    result = a_result()
    for part in ("lost", "failed", "dead", "waiting", "in_flight", "delayed"):
        setattr(result.accounting, part, changes.pop(part, 0))
    fields = {"result": result, "injected": [], "accepted": 10, "found": 10, "totals": {}}
    return ChaosReport(**(fields | changes))


def test_the_promise_is_kept_when_nothing_is_lost_or_left_and_the_books_agree():
    assert report().holds


@pytest.mark.parametrize(
    "broken",
    [
        {"lost": 1},
        {"waiting": 1},
        {"in_flight": 1},
        {"delayed": 1},
        {"failed": 1},
        {"dead": 1},
        {"found": 9},
        {"found": 11},
        {"unexpected": ["worker-1 ended by itself with 1"]},
        {"injected": [Injected("redis killed", 1.0, gave_up=True)]},
    ],
    ids=str,
)
def test_one_thing_amiss_and_the_promise_is_not_kept(broken):
    assert not report(**broken).holds
