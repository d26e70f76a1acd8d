"""The chaos program: what is broken when, and when the promise counts as kept."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter

import pytest

from taskrig_loadgen.chaos.faults import KILL, OTHERS, Injected
from taskrig_loadgen.chaos.fleet import FleetBroken
from taskrig_loadgen.chaos.program import ChaosReport, schedule
from taskrig_loadgen.cli import chaos as cli_chaos
from taskrig_loadgen.cli import main
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


def test_an_interrupted_run_is_130_and_keeps_the_promise_with_tasks_that_have_not_ended():
    assert report(waiting=3, interrupted=True).holds
    assert report(waiting=3, interrupted=True).exit_code == 130
    assert not report(lost=1, interrupted=True).holds
    assert (report().exit_code, report(lost=1).exit_code) == (0, 1)


@pytest.fixture
def broken_chaos(monkeypatch, tmp_path):
    """`loadgen chaos` whose workers end by themselves after they have logged why."""

    class Broken:
        def __init__(self, config, workload, *, folder, **_):
            self.config, self.folder = config, folder

        def interrupt(self):
            pass

        async def run(self, conduct, say):
            (self.folder / "worker-1.log").write_text("why")
            raise FleetBroken("workers keep ending")

    monkeypatch.setattr(cli_chaos, "Chaos", Broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_logs_are_kept_also_of_a_run_that_broke(broken_chaos, tmp_path, capsys):
    assert main(["chaos", "--keep", str(tmp_path / "logs")]) == 1
    assert (tmp_path / "logs" / "worker-1.log").read_text() == "why"
    assert not list(tmp_path.glob("taskrig-chaos-*"))

    assert main(["chaos"]) == 1
    (folder,) = tmp_path.glob("taskrig-chaos-*")
    assert f"logs of the server and the workers: {folder}" in capsys.readouterr().err
    assert (folder / "worker-1.log").read_text() == "why"


def test_logs_that_cannot_be_copied_stay_where_they_are(
    broken_chaos, tmp_path, monkeypatch, capsys
):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    assert main(["chaos", "--keep", str(tmp_path / "logs")]) == 1
    (folder,) = tmp_path.glob("taskrig-chaos-*")
    assert f"they are in {folder}" in capsys.readouterr().err
    assert (folder / "worker-1.log").exists()
