"""Whether a run is good is said in one place, and every format and the exit code repeat it."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace
from rich.console import Console

from taskrig.broker import QueueCommands
from taskrig.config.load import load_config
from taskrig_loadgen.analysis.expectations import judge_all, parse_expectation
from taskrig_loadgen.analysis.rate_search import why_not
from taskrig_loadgen.cli import main
from taskrig_loadgen.report import csv as csv_report
from taskrig_loadgen.report import html, junit, markdown, terminal
from taskrig_loadgen.result.ledger import Ledger
from taskrig_loadgen.result.model import PARTS, Away, Judged, Result, Searched
from taskrig_loadgen.result.store import save, to_json
from taskrig_loadgen.result.verdict import checks, exit_code
from taskrig_loadgen.run.clock import Offset
from taskrig_loadgen.run.observer import Observer
from tests.support.results import a_result

AWAY = Away(at_s=1.5, length_s=2.0, looks=12)


def a_run(rate: float = 100, **more: object) -> Result:
    result = a_result(rate=rate, **more)  # type: ignore[arg-type]
    judge_all([], result)
    return result


def changed(**books: int) -> Callable[[], Result]:
    def make() -> Result:
        result = a_run()
        for name, count in books.items():
            setattr(result.accounting, name, count)
            result.accounting.succeeded -= count if name in PARTS else 0
        judge_all([], result)
        return result

    return make


def expecting(text: str) -> Result:
    result = a_run()
    judge_all([parse_expectation(text)], result)
    return result


def clock_set() -> Result:
    result = a_run()
    result.clock.drift_s = 3600.0
    judge_all([], result)
    return result


def interrupted() -> Result:
    result = a_run()
    result.interrupted = True
    judge_all([], result)
    return result


def unanswered() -> Result:
    result = a_run()
    result.search = Searched(
        slo="makespan<1s", flat_out_per_s=50.0, trials=[], answer_per_s=None, why="no rate was held"
    )
    judge_all([], result)
    return result


def more_than_all(**more: int) -> Result:
    result = a_run()
    for name, count in more.items():
        setattr(result.accounting, name, getattr(result.accounting, name) + count)
    result.followed = False  # so that what is left is no problem of its own
    judge_all([], result)
    return result


def settled_before_the_end() -> Result:
    result = a_run()
    result.overall.e2e.mean = 0.01
    judge_all([], result)
    return result


BAD: dict[str, tuple[int, str, Callable[[], Result]]] = {
    "interrupted": (130, "interrupted", interrupted),
    "away": (5, "Redis was away for 2.00 s from second 1.5 on", lambda: a_run(away=[AWAY])),
    "unknown": (5, "7 tasks could not be looked for", changed(unknown=7)),
    "expectation": (99, "makespan < 1ms", lambda: expecting("makespan < 1ms")),
    "no answer": (99, "no answer: no rate was held", unanswered),
    "clock": (4, "the server's clock moved by 60m00s", clock_set),
    "out of order": (4, "less than wait and service together", settled_before_the_end),
    "more than all": (1, "407 tasks are accounted for, of 400", lambda: more_than_all(waiting=7)),
    "saturated": (4, "saturated: 7 tasks were due and never sent", changed(unsent=7)),
    "refused": (1, "3 tasks were refused by Redis", changed(refused=3)),
    "never arrived": (1, "3 pushes had no answer and never arrived", changed(never_arrived=3)),
    "lost": (1, "3 tasks were lost", changed(lost=3)),
    "left": (1, "7 of this run's tasks are left in the queue", changed(waiting=7)),
    "failed": (1, "50 % of the tasks did not succeed (200 failed)", lambda: a_run(failed=0.5)),
    "dead": (1, "1.75 % of the tasks did not succeed (7 dead)", changed(dead=7)),
}


def on_the_terminal(result: Result) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    for part in terminal.render(result):
        console.print(part)
    return console.export_text()


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_run_is_bad_in_every_format_and_by_its_exit_code(kind, tmp_path, capsys):
    code, said, make = BAD[kind]
    result = make()
    assert exit_code(result) == code

    assert said in on_the_terminal(result)
    page = html.page(result)
    assert said.replace("'", "&#x27;").replace("<", "&lt;") in page
    assert '<p class="notice ">' in page
    assert '<p class="notice good">' not in page
    text = markdown.summary(result).replace("&lt;", "<")
    assert any("**FAIL**" in line for line in text.splitlines())
    assert said in text
    suite = ElementTree.fromstring(junit.document(result))
    failed = [case for case in suite if case.find("failure") is not None]
    assert suite.attrib["failures"] == str(len(failed)) == "1"
    assert said in f"{failed[0].attrib['name']} {failed[0][0].attrib['message']}"
    verdict = json.loads(to_json(result))["verdict"]
    assert verdict["exit_code"] == code
    assert verdict["reasons"]
    rows = list(csv.DictReader(io.StringIO(csv_report.tables(result)["verdict.csv"])))
    assert [
        int(row["exit_code"]) for row in rows if row["problem"] and row["exit_code"] != "0"
    ] == [code]

    save(result, tmp_path / "r.json")
    assert main(["report", str(tmp_path / "r.json")]) == code
    assert said in capsys.readouterr().out.replace("\n", " ")


def test_a_good_run_is_good_in_every_format_and_by_its_exit_code(tmp_path):
    result = a_run()
    assert exit_code(result) == json.loads(to_json(result))["verdict"]["exit_code"] == 0
    assert not any(check.problems for check in checks(result))
    assert '<p class="notice good">' in html.page(result)
    assert "FAIL" not in markdown.summary(result) + on_the_terminal(result)
    assert ElementTree.fromstring(junit.document(result)).attrib["failures"] == "0"
    save(result, tmp_path / "r.json")
    assert main(["report", str(tmp_path / "r.json")]) == 0


def test_one_task_in_a_hundred_may_fail_and_an_expectation_sets_another_bound():
    assert exit_code(a_run(failed=0.01)) == 0
    assert exit_code(a_run(failed=0.0125)) == 1
    result = a_run(failed=0.5)
    judge_all([parse_expectation("failed.share <= 50%")], result)
    assert exit_code(result) == 0
    judge_all([parse_expectation("failed < 50%")], result)
    assert exit_code(result) == 99


def test_figures_are_of_tasks_that_succeeded_and_those_that_failed_stand_beside():
    result = a_run(failed=0.5)
    assert result.overall.e2e.count == result.failed_series["all"].e2e.count == 200
    assert result.overall.service.max == pytest.approx(0.02)
    assert result.failed_series["all"].service.max == pytest.approx(0.0001, abs=1e-6)
    assert result.totals.done_per_s == pytest.approx(50, rel=0.02)
    assert [row.done for row in result.timeline[:3]] == [49, 50, 50]
    assert [row.failed for row in result.timeline[:3]] == [50, 50, 50]
    for text in (html.page(result), markdown.summary(result), on_the_terminal(result)):
        assert "failed" in text
    assert "failed" in csv_report.tables(result)["series.csv"]
    assert a_run().failed_series == {}


def saved(folder: Path, name: str, failed: float, rng: random.Random) -> list[str]:
    paths = []
    for number in range(5):
        result = a_run(count=100, wait_s=rng.uniform(0.009, 0.011), failed=failed)
        paths.append(str(folder / f"{name}-{number}.json"))
        save(result, Path(paths[-1]))
    return paths


@pytest.mark.parametrize("number", range(20))
def test_a_release_that_fails_fast_is_called_worse_everywhere(number, tmp_path, capsys):
    """Its failed tasks take a tenth of a millisecond; a fifth of the answers is no faster."""
    rng = random.Random(number)
    share = 1.0 if number == 0 else rng.uniform(0.02, 1)
    base, new = (saved(tmp_path, name, part, rng) for name, part in (("a", 0.0), ("b", share)))
    assert main(["compare", *base, "--", *new, "--json"]) == 3
    answers = {one["figure"]: one["answer"] for one in json.loads(capsys.readouterr().out)}
    assert answers.pop("failed.share") == "worse"
    assert set(answers.values()) == {"not judged: more tasks fail"}
    assert main(["compare", *new, "--", *base]) == 0
    if number < 2:
        commands = ["--a", f"cat {base[0]}", "--b", f"cat {new[0]}; exit 1", "--runs", "5"]
        assert main(["ab", *commands, "--figure", "e2e.p50"]) == 3
        assert main(["ab", "--a", "true", "--b", "exit 1", "--runs", "5"]) == 3
    assert main(["plan", "--from", new[0], "--rate", "100"]) == 2
    assert "did not succeed" in capsys.readouterr().err
    result = a_run(failed=share)
    held = Judged(text="e2e.p99<1s", value=0.001, shown="1 ms", ok=True)
    assert "did not succeed" in why_not(result, held)
    assert not parse_expectation("failed.share < 1%").judge(result).ok
    assert ElementTree.fromstring(junit.document(result)).attrib["failures"] == "1"


def test_failures_are_judged_from_nothing_to_forty_and_back(tmp_path):
    rng = random.Random(1)
    none, forty = saved(tmp_path, "a", 0.0, rng), saved(tmp_path, "b", 0.1, rng)
    flags = ["--figure", "failed", "lost"]
    assert main(["compare", *none, "--", *forty, *flags]) == 3
    assert main(["compare", *forty, "--", *none, *flags]) == 0
    assert main(["compare", *none, "--", *none, *flags]) == 0


def test_a_run_in_which_redis_was_away_is_not_compared_planned_from_or_searched(tmp_path, capsys):
    good = saved(tmp_path, "a", 0.0, random.Random(1))
    save(a_run(count=100, away=[AWAY]), tmp_path / "away.json")
    away = str(tmp_path / "away.json")
    assert main(["compare", *good, "--", *good[:4], away]) == 2
    assert main(["plan", "--from", away, "--rate", "10"]) == 2
    assert capsys.readouterr().err.count("Redis was away for 2.00 s") == 2
    assert main(["ab", "--a", f"cat {good[0]}", "--b", f"cat {away}", "--runs", "5"]) == 1
    held = Judged(text="", value=0.0, shown="", ok=True)
    assert "Redis was away" in why_not(a_run(away=[AWAY]), held)


def test_half_a_run_is_not_compared_with_whole_ones(tmp_path, capsys):
    good = saved(tmp_path, "a", 0.0, random.Random(1))
    half = interrupted()
    for number in range(5):
        save(replace(half, run_id=str(number)), tmp_path / f"half-{number}.json")
    halves = [str(tmp_path / f"half-{number}.json") for number in range(5)]
    assert main(["compare", *halves, "--", *halves]) == 2
    assert main(["ab", "--a", f"cat {good[0]}", "--b", f"cat {halves[0]}", "--runs", "5"]) == 1
    assert capsys.readouterr().err.count("interrupted: the figures cover what was sent") == 2


def test_ab_says_of_a_result_that_it_cannot_read_why_and_how_a_command_was_killed(tmp_path, capsys):
    newer = to_json(a_run()).replace('"version": 1', '"version": 99')
    (tmp_path / "newer.json").write_text(newer)
    command = f"cat {tmp_path / 'newer.json'}"
    assert main(["ab", "--a", command, "--b", "true", "--figure", "e2e.p50"]) == 1
    assert "format version 99" in capsys.readouterr().err
    assert main(["ab", "--a", "kill -9 $$", "--b", "true"]) == 1
    assert "SIGKILL ended: kill -9 $$" in capsys.readouterr().err


def test_while_redis_is_away_depths_are_a_gap_and_neither_side_is_blamed():
    result = a_result(rate=100, away=[Away(at_s=1.5, length_s=1.4, looks=9)])
    assert [row.waiting for row in result.timeline[:4]] == [3, None, None, None]
    result = replace(result, totals=replace(result.totals, achieved_per_s=10.0))
    judge_all([], result)
    assert not result.verdict.saturated
    result.away = []
    judge_all([], result)
    assert result.verdict.saturated


def test_a_warm_up_is_left_out_of_every_figure_and_said_in_every_format():
    result = a_run(warmup_s=1.0, failed=0.25)
    whole = a_run(failed=0.25)
    assert result.accounting == whole.accounting  # it covers all
    assert result.overall.send_lag.count == 300
    assert result.overall.e2e.count == 225
    assert result.totals.makespan_s == pytest.approx(whole.totals.makespan_s - 1.0)
    assert result.totals.offered_per_s == pytest.approx(100)
    assert result.totals.achieved_per_s == pytest.approx(100, rel=0.01)
    assert result.totals.done_per_s == pytest.approx(75, rel=0.02)
    assert result.left_out.counts["sent"] == 100
    said = "warm-up: the first 1 s (100 tasks) left out"
    for text in (
        on_the_terminal(result),
        html.page(result),
        markdown.summary(result),
        junit.document(result),
        to_json(result),
        csv_report.tables(result)["verdict.csv"],
    ):
        assert said in text


def test_what_fails_in_the_warm_up_is_in_no_share():
    result = a_run(warmup_s=2.0)
    result.accounting.succeeded -= 100
    result.accounting.failed = 100
    result.left_out.counts.update(failed=100, bad=100, succeeded=100)
    judge_all([], result)
    assert (result.failed_share, exit_code(result)) == (0.0, 0)
    assert result.share("succeeded") == 1.0


@pytest.mark.parametrize(("error_s", "code"), [(0.0001, 4), (0.2, 0)])
def test_a_step_within_the_error_of_its_two_measurements_is_not_a_step(error_s, code):
    result = a_run()
    result.clock.drift_s, result.clock.offset_error_s = 0.3, error_s
    judge_all([], result)

    assert exit_code(result) == code


@pytest.mark.parametrize(
    ("expectation", "kind", "code"),
    [
        ("failed == 0", "dead", 1),
        ("failed <= 400", "dead", 1),
        ("failed <= 400", "failed", 0),
        ("failed >= 0", "failed", 1),
        ("failed != 7", "failed", 1),
        ("failed <= 100%", "dead", 0),
        ("failed.share <= 1", "dead", 0),
        ("dead <= 400", "dead", 0),
        ("dead <= 400", "failed", 1),
        ("succeeded >= 0", "dead", 0),
        ("succeeded < 1%", "dead", 1),
        ("duplicates == 0", "dead", 1),
    ],
)
def test_an_expectation_stands_in_for_our_bound_only_of_the_kind_that_it_bounds(
    expectation, kind, code
):
    result = a_run()
    result.accounting.succeeded = 0
    setattr(result.accounting, kind, 400)
    judge_all([parse_expectation(expectation)], result)

    assert exit_code(result) == code


def from_outside(warmup_s: float = 0.0) -> Result:
    """400 tasks pushed, of which depths alone have told that they left the queue."""
    result = a_result(rate=100, warmup_s=warmup_s, gone=True)
    judge_all([], result)
    return result


@pytest.mark.parametrize(
    "expectation",
    [
        "failed == 0",
        "failed < 1%",
        "succeeded == 0",
        "dead == 0",
        "lost == 0",
        "duplicates == 0",
        "duplicates < 1%",
        "retried == 0",
    ],
)
def test_what_became_of_tasks_that_are_gone_meets_no_expectation(expectation):
    result = from_outside()
    judged = parse_expectation(expectation).judge(result)

    assert (judged.ok, judged.value) == (False, None)
    assert judged.shown == "not known: the run was watched from outside (--observe)"


def test_no_format_says_of_tasks_that_are_gone_that_none_failed():
    result = from_outside()

    assert "Every task is accounted for" not in html.page(result)
    assert html.page(result).count("not known") >= 4
    assert "accounting: 400 sent = 400 gone" in on_the_terminal(result)
    assert "run twice: not known" in markdown.summary(result)
    assert not result.verdict.complete
    assert parse_expectation("gone == 400").judge(result).ok


@pytest.mark.parametrize("name", ["sent", "gone", "lost", "failed", "unsent", "unconfirmed"])
def test_a_share_seen_from_outside_after_a_warm_up_is_never_below_nothing_or_above_all(name):
    result = from_outside(warmup_s=1.0)

    assert result.accounting.gone == 400
    share = result.share(name)
    assert share is None or 0 <= share <= 1
    assert result.share("gone") == 1


def test_a_share_that_is_not_counted_apart_from_the_warm_up_is_not_known():
    result = a_run(warmup_s=1.0)
    result.accounting.duplicates = 7

    assert parse_expectation("duplicates < 3%").judge(result).shown == "2.333 %"
    judged = parse_expectation("retried < 1%").judge(result)
    assert (judged.ok, judged.shown) == (
        False,
        "not known: retried is not counted apart from the warm-up",
    )


@pytest.mark.parametrize(
    ("shown", "stepped_s"),
    [([0.0, 0.01], 0.0), ([0.0, 2.0, 0.0], 2.0), ([0.0, -3.0, 1.0, 0.0], -3.0)],
)
def test_a_servers_clock_that_is_set_and_set_back_is_noticed(shown, stepped_s):
    observer = Observer(None, QueueCommands(load_config(None, env={})), "run", Ledger(["a"]))
    observer.offset = Offset(1000.0, 0.001)
    for number, ahead_s in enumerate(shown):
        at = 1000.0 + number + ahead_s
        observer.watch_clock(at, began=number - 0.02, ended=number + 0.02)

    assert observer.stepped_s == pytest.approx(stepped_s, abs=0.03)
