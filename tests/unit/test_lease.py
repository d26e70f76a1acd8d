"""When a worker may reclaim: what is a gap in its lease, what is not, and what is said of it."""

from __future__ import annotations

import logging

import pytest

from taskrig.engine.lease import Lease
from taskrig.errors import BrokerUnavailable

LEASE_S = 15.0


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Wire:
    """A LeaseConnection whose calls end as the test says; the server's clock is `ahead` of ours."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ahead = 5000.0
        self.fails = 0  # so many calls, from the next one on
        self.gap = False
        self.calls = 0
        self.probes = []  # what is to be measured, one after the other

    def renew(self, about: str) -> tuple[bool, float, float]:
        self.calls += 1
        if self.fails:
            self.fails -= 1
            raise BrokerUnavailable("Connection closed by server.")
        gap, self.gap = self.gap, False
        return gap, self.ahead, 0.001

    def probe(self) -> tuple[float, float]:
        if not self.probes:
            return self.ahead, 0.001
        found = self.probes.pop(0)
        if isinstance(found, Exception):
            raise found
        self.clock.now += found[1]
        return found


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("taskrig.engine.lease.time", clock)
    monkeypatch.setattr("taskrig.engine.clock.time", clock)
    return clock


@pytest.fixture
def wire(clock):
    return Wire(clock)


@pytest.fixture
def lease(wire):
    return Lease(wire, LEASE_S, lambda: "")


def keep(lease, clock, seconds, each=lambda: None):
    """Renew as the thread does, for so many seconds; `each` happens in every pause."""
    end, pause_s = clock.now + seconds, 1.0
    while clock.now < end:
        if pause_s:
            each()
        pause_s = lease._renew()
        clock.now += pause_s


def test_a_lease_may_reclaim_after_it_was_held_in_full(lease, clock):
    keep(lease, clock, 10)
    assert not lease.may_reclaim
    keep(lease, clock, 6)
    assert lease.may_reclaim


def test_a_renewal_that_succeeds_on_a_new_connection_is_not_a_gap(lease, wire, clock):
    def idle_connection_is_cut():
        wire.fails = 1

    keep(lease, clock, 2 * LEASE_S, idle_connection_is_cut)
    assert lease.may_reclaim
    assert wire.calls > 10, "each renewal was tried twice"


def test_the_second_attempt_comes_at_once_and_later_ones_after_a_pause(lease, wire):
    wire.fails = 3
    assert [lease._renew() for _ in range(4)] == [0.0, 1.0, 1.0, LEASE_S / 3]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_renewal_that_comes_before_half_a_lease_is_over_is_not_a_gap(lease, wire, clock, failing):
    keep(lease, clock, 2 * LEASE_S)
    wire.fails = failing
    keep(lease, clock, 6)
    assert lease.may_reclaim


def test_after_an_outage_of_more_than_half_a_lease_the_time_begins_again(lease, wire, clock):
    """The others' leases were given up to a third of a lease earlier: they may be over."""
    keep(lease, clock, 2 * LEASE_S)
    wire.fails = 5
    keep(lease, clock, 9)
    assert wire.fails == 0
    assert not lease.may_reclaim
    keep(lease, clock, LEASE_S)
    assert lease.may_reclaim


def test_while_it_cannot_be_renewed_a_worker_does_not_reclaim(lease, wire, clock):
    keep(lease, clock, 2 * LEASE_S)
    wire.fails = 100
    keep(lease, clock, 9)
    assert not lease.may_reclaim


def test_a_lapse_that_the_server_saw_begins_the_time_again(lease, wire, clock):
    keep(lease, clock, 2 * LEASE_S)
    wire.gap = True
    keep(lease, clock, 5)
    assert not lease.may_reclaim
    assert lease.gap_at > 0


def test_a_lease_that_is_lost_again_and_again_is_said_once_in_five_minutes(
    lease, wire, clock, caplog
):
    keep(lease, clock, 2 * LEASE_S)
    caplog.set_level(logging.WARNING, "taskrig")

    def lapses():
        wire.gap = True

    keep(lease, clock, 6, lapses)
    assert caplog.messages == [], "once or twice is an outage, which is said elsewhere"
    keep(lease, clock, 250, lapses)
    (line,) = caplog.messages
    assert "the lease was lost 3 times in a row and never held for 15 s (worker.lease)" in line
    assert "does not take over tasks of workers that died" in line
    keep(lease, clock, 100, lapses)
    assert len(caplog.messages) == 2


def test_three_outages_with_full_leases_between_them_are_not_said(lease, wire, clock, caplog):
    caplog.set_level(logging.WARNING, "taskrig")
    for _ in range(5):
        keep(lease, clock, 3 * LEASE_S)
        wire.gap = True
    assert caplog.messages == []


@pytest.mark.parametrize(("by_s", "words"), [(3600.0, "ahead by 3600.0"), (-90.0, "back by 90.0")])
def test_a_step_of_the_servers_clock_is_one_line_and_begins_the_time_again(
    lease, wire, clock, caplog, by_s, words
):
    keep(lease, clock, 2 * LEASE_S)
    caplog.set_level(logging.WARNING, "taskrig")
    wire.ahead += by_s
    keep(lease, clock, 5)
    assert not lease.may_reclaim
    assert lease.clock.at(clock.now) == clock.now + 5000 + by_s
    step = lease.clock.take_step()
    assert step is not None
    assert step.by_s == pytest.approx(by_s)
    assert step.within_s == pytest.approx(5)
    assert lease.clock.take_step() is None
    keep(lease, clock, LEASE_S)
    assert lease.may_reclaim
    (line,) = caplog.messages
    assert words in line


def test_drift_of_the_servers_clock_is_not_a_step(lease, wire, clock, caplog):
    caplog.set_level(logging.WARNING, "taskrig")

    def drifts():
        wire.ahead += 0.02

    keep(lease, clock, 20 * LEASE_S, drifts)
    assert lease.may_reclaim
    assert lease.clock.take_step() is None
    assert lease.clock.at(0) == pytest.approx(wire.ahead, abs=0.2)
    assert caplog.messages == []


def test_the_servers_clock_is_taken_from_the_shortest_of_several_round_trips(lease, wire, clock):
    wire.renew = lambda _: (False, 5000.050, 0.120)  # it had to connect
    wire.probes = [(5000.004, 0.010), (5000.0001, 0.0003), (4999.998, 0.005), (5000.3, 0.7)]
    lease._renew()
    assert lease.clock.at(1.0) == 5001.0001
    assert lease.clock.error_s == 0.00015


def test_few_round_trips_are_enough_where_they_take_long(lease, wire, clock):
    wire.probes = [(5000.0, 0.5)] * 20
    lease._renew()
    assert len(wire.probes) == 17


def test_a_server_that_refuses_to_tell_its_clock_is_measured_by_the_renewal(lease, wire, clock):
    wire.probes = [BrokerUnavailable("NOPERM")]
    lease._renew()
    assert lease.clock.at(1.0) == 5001.0
    assert not wire.probes


def test_after_a_step_the_servers_clock_is_measured_as_well_as_at_the_start(lease, wire, clock):
    lease._renew()
    wire.ahead = 9000.0
    wire.probes = [(9000.2, 0.004), (9000.1, 0.0002), *[(9000.3, 0.003)] * 6]
    lease._renew()
    assert lease.clock.at(1.0) == 9001.1
