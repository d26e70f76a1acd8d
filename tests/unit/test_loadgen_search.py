"""Closing in on the highest rate that holds: what no short trial may talk a search into."""

from __future__ import annotations

import json
import math

import pytest
from msgspec.structs import replace

from taskrig_loadgen.analysis.rate_search import Bracket, grew, highest_held, why_not, why_this
from taskrig_loadgen.cli import main, search
from taskrig_loadgen.result.figures import due_and_started, flat_out_per_s
from taskrig_loadgen.result.ledger import Ledger
from taskrig_loadgen.result.model import Judged, Result, Trial
from tests.support.results import a_calibration, a_result

FLAT_OUT = 47.4


def run_of(due: int, started: int) -> Result:
    result = a_result(rate=80.0)
    result.totals.measured_due, result.totals.measured_started = due, started
    return result


def judged(text: str, *, ok: bool) -> Judged:
    return Judged(text=text, value=1.0, shown="1 s", ok=ok)


def trials(bracket: Bracket, rate: float, most: float) -> list[float]:
    """The rates tried until the bracket is close, where everything up to `most` passes."""
    tried = []
    while not bracket.is_close and len(tried) < 30:
        tried.append(rate)
        bracket.book(rate, rate <= most)
        rate = bracket.next_trial()
    return tried


def holds(bracket: Bracket, most: float) -> list[float]:
    """The rates held until one passes, where everything up to `most` does."""
    rate, held = bracket.holds or bracket.next_trial(), []
    while len(held) < 30:
        held.append(rate)
        bracket.book(rate, rate <= most)
        if rate <= most:
            break
        rate = bracket.next_hold(0.0, len(held))
    return held


@pytest.mark.parametrize("close", [1.04, 1.3])
def test_no_rate_above_flat_out_is_ever_tried_however_short_and_kind_the_trials(close):
    bracket = Bracket(FLAT_OUT, close)
    tried = trials(bracket, FLAT_OUT * 0.75, most=math.inf)
    assert max(tried) < FLAT_OUT
    assert FLAT_OUT / close <= bracket.holds < FLAT_OUT


def test_a_pass_above_what_the_workers_finish_does_not_count():
    bracket = Bracket(FLAT_OUT, 1.04)
    bracket.book(80.0, ok=True)
    assert bracket.holds == 0
    assert bracket.next_trial() < FLAT_OUT


@pytest.mark.parametrize("most", [3.0, 20.0, 40.0, 46.0])
def test_the_trials_close_in_on_the_highest_rate_that_holds(most):
    bracket = Bracket(FLAT_OUT, 1.04)
    trials(bracket, FLAT_OUT * 0.75, most)
    assert most / 1.04 <= bracket.holds <= most


@pytest.mark.parametrize("most", [0.7, 5.0, 21.0, 33.0, 44.0])
@pytest.mark.parametrize("close", [1.04, 1.3])
def test_after_a_failed_hold_lower_rates_are_held_until_one_passes(most, close):
    """The trials were all too kind: only the holds tell the truth."""
    bracket = Bracket(FLAT_OUT, close)
    trials(bracket, FLAT_OUT * 0.75, most=math.inf)
    held = holds(bracket, most)
    assert held[-1] <= most
    assert held == sorted(held, reverse=True)
    assert len(held) <= 10


def test_a_failed_hold_speaks_against_the_trials_that_passed_above_it():
    bracket = Bracket(100.0, 1.04)
    for rate in (60.0, 80.0, 90.0):
        bracket.book(rate, ok=True)
    bracket.book(80.0, ok=False)
    assert bracket.holds == 60
    assert bracket.next_hold(0.0, 1) == pytest.approx(76)
    assert bracket.next_hold(0.0, 3) == pytest.approx(64)


def test_a_hold_that_passed_is_the_lower_end_from_then_on():
    bracket = Bracket(100.0, 1.04)
    bracket.book(80.0, ok=False)
    bracket.book(50.0, ok=True)
    assert bracket.next_hold(50.0, 1) == 65


@pytest.mark.parametrize("seconds", [3, 5, 10])
def test_a_short_trial_above_what_the_workers_can_finish_grows(seconds):
    due, done = 80 * seconds, FLAT_OUT * seconds
    assert grew(run_of(due, int(done)))
    assert not grew(run_of(int(done), int(done)))
    assert why_not(run_of(due, int(done)), judged("", ok=True)).startswith("the queue grew")


def test_chance_in_the_arrivals_is_no_growth():
    assert not grew(run_of(400, 400 - 2 * 20))
    assert grew(run_of(400, 400 - 2 * 20 - 1))


def test_an_slo_that_was_not_kept_is_the_reason_where_nothing_grew():
    assert why_not(run_of(100, 100), judged("", ok=True)) == ""
    assert why_not(run_of(100, 100), judged("wait.p99<1s", ok=False)) == "not wait.p99<1s"


def started_at(moments: list[float]) -> Ledger:
    ledger = Ledger(["a"])
    ledger.add([0] * len(moments), [float(n) for n in range(len(moments))], 0.0)
    for number, moment in enumerate(moments):
        ledger.record(f"{number} succeeded {moment} {moment} w 0 0 {moment}".encode())
    return ledger


def test_the_flat_out_rate_leaves_out_the_first_task_of_each_slot():
    ledger = started_at([10.0, 10.0, 11.0, 11.0, 12.0, 12.0])
    assert flat_out_per_s(ledger, 2) == 2.0
    assert flat_out_per_s(ledger, 6) is None
    assert flat_out_per_s(started_at([]), 2) is None


def test_tasks_due_and_started_are_counted_between_the_same_two_moments():
    assert due_and_started(started_at([0.5, 2.5, 4.0, 4.5]), 1.0, 4.0) == (3, 1)


def test_a_search_that_finds_no_rate_leaves_its_last_trial_and_is_99(monkeypatch, tmp_path):
    async def nothing_holds(one, *_):
        one.calibrator.latest = replace(a_result(rate=100), run_id="last")

    monkeypatch.setattr(search, "_search", nothing_holds)
    out, xml = tmp_path / "r.json", tmp_path / "j.xml"
    flags = ["--out", str(out), "--junit", str(xml)]
    assert main(["search", "--mix", "a=1", "--slo", "wait.p50<1ms", *flags]) == 99
    saved = json.loads(out.read_text())
    assert saved["run_id"] == "last"
    assert [(one["text"], one["ok"]) for one in saved["expectations"]] == [("wait.p50<1ms", False)]
    assert "<failure" in xml.read_text()
    assert main(["search", "--mix", "a=1", "--slo", "wait.p50<1h", *flags]) == 99


class Imagined:
    """Runs nothing: what is offered waits 10 ms up to `MOST` tasks a second, and 2 s above."""

    MOST = 60.0
    drains = 0

    def __init__(self, config, workload, kind, ask_first=None):
        self.workload, self.interrupted = workload, False
        self.calibration = self.latest = None

    async def flat_out(self):
        Imagined.drains += 1
        return 100.0

    async def calibrate(self, flat_out):
        self.calibration = a_calibration(80)

    async def conduct(self, workload):
        rate = workload.profile.segments[0].first
        wait_s = 0.01 if rate <= self.MOST else 2.0
        self.latest = a_result("a=1", rate=rate, count=200, wait_s=wait_s)
        self.latest.totals.measured_started = self.latest.totals.measured_due
        self.latest.calibration = self.calibration
        return self.latest


def test_a_search_keeps_its_answer_and_another_goes_on_from_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(search, "Calibrator", Imagined)
    saved, again, page = tmp_path / "s.json", tmp_path / "t.json", tmp_path / "s.html"
    flags = ["search", "--mix", "a=1", "--slo", "wait.p90<1s"]
    Imagined.drains = 0
    assert main([*flags, "--precision", "30%", "--out", str(saved), "--html", str(page)]) == 0
    story = json.loads(saved.read_text())["search"]
    assert 60 / 1.3 <= story["answer_per_s"] <= 60
    assert story["flat_out_per_s"] == 100
    assert story["trials"][-1] == {**story["trials"][-1], "hold": True, "why": ""}
    assert {bool(one["why"]) for one in story["trials"]} == {True, False}
    assert all((one["rate_per_s"] <= 60) == (not one["why"]) for one in story["trials"])
    assert "is the highest rate at which a hold passed" in story["why"]
    assert "does not: not wait.p90<1s" in story["why"]
    assert story["why"] in " ".join(capsys.readouterr().out.split())
    assert "Latency over rate" in page.read_text()
    assert "answer " in page.read_text()
    assert "knee 100/s" in page.read_text()

    more = [*flags, "--precision", "4%", "--continue", str(saved), "--out", str(again)]
    assert main(more) == 0
    further = json.loads(again.read_text())["search"]
    assert further["trials"][: len(story["trials"])] == story["trials"]
    assert 60 / 1.04 <= further["answer_per_s"] <= 60
    assert Imagined.drains == 1
    other = ["search", "--mix", "b=1", "--slo", "wait.p90<1s", "--continue", str(saved)]
    assert main(other) == 2
    assert "that search was for" in capsys.readouterr().err


def test_without_any_hold_the_story_says_why():
    failed = Trial(rate_per_s=50.0, hold=True, value=2.0, why="not wait.p90<1s")
    assert why_this([failed], None, 100.0) == "no rate was held; 50/s does not: not wait.p90<1s"


def tried(*trials: tuple[float, bool, bool]) -> list[Trial]:
    """Of rate, whether it was a hold, whether it passed."""
    return [
        Trial(rate_per_s=rate, hold=hold, value=1.0, why="" if ok else "no")
        for rate, hold, ok in trials
    ]


@pytest.mark.parametrize(
    ("trials", "answer"),
    [
        ([(50, False, True), (50, True, True)], 50),
        ([(50, True, True), (45, False, False)], None),
        ([(50, True, True), (50, False, False), (40, True, True)], 40),
        ([(50, True, True), (60, True, False)], 50),
        ([(45, False, False), (45, False, True), (50, True, True)], 50),  # after a stray pause
        ([(45, False, False), (45, False, False), (50, True, True)], None),
        ([], None),
    ],
)
def test_the_answer_is_the_highest_hold_that_nothing_has_disproved(trials, answer):
    assert highest_held(tried(*trials)) == answer


def test_a_search_that_goes_on_gives_up_an_answer_that_its_trials_disprove(monkeypatch, tmp_path):
    monkeypatch.setattr(search, "Calibrator", Imagined)
    saved, again = tmp_path / "s.json", tmp_path / "t.json"
    flags = ["search", "--mix", "a=1", "--slo", "wait.p90<1s", "--precision", "30%"]
    assert main([*flags, "--out", str(saved)]) == 0
    before = json.loads(saved.read_text())["search"]["answer_per_s"]

    monkeypatch.setattr(Imagined, "MOST", before / 2)  # since then half the workers have gone
    assert main([*flags, "--continue", str(saved), "--out", str(again)]) == 0
    assert json.loads(again.read_text())["search"]["answer_per_s"] <= before / 2
