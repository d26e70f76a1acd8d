"""Reports are pure functions of a result; hostile text stays text."""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

from taskrig.config.load import load_config
from taskrig.errors import TaskrigError, UsageError
from taskrig_loadgen.analysis.expectations import judge_all, parse_expectation
from taskrig_loadgen.cli import live, main, monitor, output
from taskrig_loadgen.cli import sweep as cli_sweep
from taskrig_loadgen.cli.console import report_console
from taskrig_loadgen.load.mix import parse_mix
from taskrig_loadgen.load.pacer import constant
from taskrig_loadgen.load.workload import Workload
from taskrig_loadgen.maths.histogram import curve, encode
from taskrig_loadgen.queueview import QueueView, Worker
from taskrig_loadgen.report import csv as csv_report
from taskrig_loadgen.report import html, junit, markdown, terminal
from taskrig_loadgen.report.exporter import RunCollector
from taskrig_loadgen.result.ledger import Ledger
from taskrig_loadgen.result.store import load, save, schema, to_json, write_file
from taskrig_loadgen.run.environment import safe_command
from taskrig_loadgen.run.experiment import Stage
from tests.support.results import HOSTILE, a_result

GOOD = "Every task is accounted for"
FIXTURES = Path(__file__).parents[1] / "fixtures"
GONE = object()


class Page(HTMLParser):
    """Collects what the tests ask of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "action")]


@pytest.mark.parametrize("rate", [0, 100])
def test_the_page_needs_no_network_and_shows_hostile_text_as_text(rate):
    text = html.page(a_result(f"{HOSTILE}=3,b=1", rate=rate))
    page = Page(text)
    assert page.links == []
    assert "http:" not in text
    assert "https:" not in text
    assert page.tags.count("script") == 1
    assert "&lt;script&gt;alert(1)" in text
    assert page.tags.count("svg") >= (2 if not rate else 6)


def test_the_page_of_a_steady_run_shows_theory_beside_measurement():
    page = html.page(a_result(rate=100, calibrated=True))
    assert "Predicted before the first task was sent, from a calibration of 400 other" in page
    assert "100/s as scheduled, 5 slots 4" in page
    assert "--calibrate" in html.page(a_result(rate=100))  # how to get one
    assert "Predicted beside measured" not in html.page(a_result())


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("lost", "7 tasks were lost"),
        ("waiting", "7 of this run&#x27;s tasks are left in the queue"),
        ("refused", "7 tasks were refused"),
        ("never_arrived", "7 pushes had no answer"),
        ("unsent", "7 tasks were due and never sent"),
        ("failed", "1.75 % of the tasks did not succeed (7 failed)"),
        ("dead", "1.75 % of the tasks did not succeed (7 dead)"),
        ("duplicates", "7 tasks ran more than once"),
    ],
)
def test_the_page_calls_a_run_good_only_where_nothing_was_bad(part, said):
    result = a_result()
    result.expectations = []
    assert GOOD in html.page(result)
    setattr(result.accounting, part, 7)
    page = html.page(result)
    assert GOOD not in page
    assert said in page


def test_what_waits_is_no_fault_of_a_run_that_was_not_followed():
    result = a_result()
    result.expectations, result.followed = [], False
    result.accounting.waiting = 7
    assert "left in the queue" not in html.page(result)


def test_a_day_is_drawn_with_600_points_and_hides_neither_a_peak_nor_a_gap():
    result = a_result(rate=100)
    day = [replace(result.timeline[0], second=n) for n in range(86_400)]
    day[40_000].e2e_max, day[50_000].waiting, day[60_000].done = 99.0, None, 14_400
    rows = html.thinned(day)
    assert len(rows) == 600
    assert rows[40_000 // 144].e2e_max == 99.0
    assert rows[50_000 // 144].waiting is None
    assert rows[0].offered == 100
    assert rows[60_000 // 144].done == pytest.approx(100 + day[0].done, abs=1)
    result.timeline = day
    assert len(html.page(result)) < 500_000
    assert html.thinned(day[:600]) == day[:600]


def test_sixty_types_are_all_drawn_and_more_than_a_hundred_are_said():
    mix = ",".join(f"t{n}=1" for n in range(60))
    assert all(f">t{n} <tspan" in html.page(a_result(mix, count=60)) for n in range(60))
    mix = ",".join(f"t{n}=1" for n in range(103))
    assert "3 more types are in the table" in html.page(a_result(mix, count=103))


def test_the_result_fits_its_schema():
    for result in (a_result(), a_result(rate=100), a_result(rate=100, calibrated=True)):
        document = json.loads(to_json(result))
        jsonschema.validate(document, schema())
        del document["accounting"]["lost"]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, schema())


def test_the_schema_promises_what_it_promised_before():
    """A changed line here is a changed file format: add only what older files may leave out."""
    assert json.loads((FIXTURES / "result-1.schema.json").read_text()) == schema()


@pytest.mark.parametrize("name", ["run", "outside"])
def test_a_result_that_an_earlier_loadgen_saved_is_read(name):
    """Written by the loadgen of 2026-11-28; a file as it was before there were any models."""
    path = FIXTURES / f"result-1-{name}.json"
    result = load(path)
    assert holds(json.loads(to_json(result)), json.loads(path.read_text()))
    assert result.failed_series is None  # its series are of all tasks
    assert html.page(result)


def holds(again: Any, saved: Any) -> bool:
    """Whether all that was saved is there again, as it was; new fields may stand beside it."""
    if isinstance(saved, dict):
        return all(name in again and holds(again[name], saved[name]) for name in saved)
    if isinstance(saved, list):
        return len(again) == len(saved) and all(map(holds, again, saved))
    return bool(again == saved)


def test_what_the_first_results_did_not_have_yet_may_be_missing(tmp_path):
    document = json.loads((FIXTURES / "result-1-run.json").read_text())
    for name in ("calibration", "forecast", "unsearched"):
        del document[name]
    for name in ("lag_s", "flat_out_per_s", "measured_due", "measured_started"):
        del document["totals"][name]
    for name in ("unknown", "foreign_records"):
        del document["accounting"][name]
    (tmp_path / "r.json").write_text(json.dumps(document))
    result = load(tmp_path / "r.json")
    assert result.accounting.unknown == 0
    assert result.totals.measured_due is result.calibration is None
    assert "unknown" not in markdown.summary(result)


def test_a_saved_result_is_read_back_as_it_was(tmp_path):
    result = a_result()
    save(result, tmp_path / "r.json")
    assert load(tmp_path / "r.json") == result
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_a_link_is_followed_and_a_pipe_is_written_into(tmp_path):
    there, link, pipe = tmp_path / "there.json", tmp_path / "link.json", tmp_path / "pipe"
    link.symlink_to(there)
    write_file(link, "a")
    assert link.is_symlink()
    assert there.read_text() == "a"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(pipe, "b")
    assert os.read(reader, 9) == b"b"
    os.close(reader)
    assert pipe.is_fifo()
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "secret",
    [
        ["--set", "redis.password=hush"],
        ["--set=http.token=hush"],
        ["--set", "redis={password: hush}"],
        ["--set", "email=password: hush"],
        ["--set", "redis.sentinel_password=hush"],
        ["--redis-url", "redis://:hush@host/0"],
    ],
)
def test_no_secret_of_the_command_line_is_in_a_result(secret):
    kept = ["--mix", "email=3,http.token=1", "--set", "worker.lease=5s"]
    said = safe_command(["loadgen", *secret, *kept])
    assert "hush" not in " ".join(said)
    assert said[-len(kept) :] == kept


@pytest.mark.parametrize("flag", ["--html", "--junit", "--markdown", "--csv"])
@pytest.mark.parametrize(
    ("name", "why"),
    [("", "the name is empty"), ("folder", "it is a folder"), ("none/x", "there is no folder")],
)
def test_a_file_that_cannot_be_written_is_refused_before(flag, name, why, tmp_path, capsys):
    if (flag, name) == ("--csv", "folder"):
        name, why = "file", "there is a file of that name"
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    flags = [flag, f"{tmp_path}/{name}" if name else ""]
    commands = [["report", "nowhere.json"], *([["sweep"]] if flag == "--html" else [])]
    for command in commands:
        assert main([*command, *flags]) == 2
        assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("[]", "no result"),
        ("{}", "no result"),
        ('{"format":"taskrig-loadgen-result","version":2}', "version 2"),
        ('{"format":"taskrig-loadgen-result","version":1}', "result must contain .*kind"),
    ],
)
def test_another_file_is_refused_by_name(text, why, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=why):
        load(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (("totals", "workers"), "many", "result.totals.workers must be integer"),
        (("timeline", 0, "sent"), -1, r"result.timeline\[0\].sent must be bigger than"),
        (("series", "all", "wait", "count"), None, "result.series.all.wait.count must be"),
        (("interrupted",), 0, "result.interrupted must be boolean"),
        (("workload", "order"), "up", "result.workload.order must be one of"),
        (("series", "all"), GONE, r"result.series must contain \['all'\]"),
        (("series", "a", "e2e", "p50"), None, "result.series.a.e2e.p50 must be number"),
        (("series", "a", "e2e", "hdr"), GONE, "result.series.a.e2e must contain .* 300 samples"),
        (("series", "a", "e2e", "p42"), 1.0, r"result.series.a.e2e must not contain \{'p42'\}"),
        (("calibration", "service", "mean"), GONE, "result.calibration.service must contain"),
        (("forecast", "rate_per_s"), "5/s", "result.forecast.rate_per_s must be number"),
        (("environment", "libraries", "redis"), 8, "result.environment.libraries.redis must be"),
        (("outside",), {"mode": "queue"}, "result.outside must contain"),
    ],
)
def test_a_result_that_somebody_changed_is_refused_with_the_place(place, value, why, tmp_path):
    document = part = json.loads(to_json(a_result(rate=100, calibrated=True)))
    for name in place[:-1]:
        part = part[name]
    if value is GONE:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    (tmp_path / "x.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=why):
        load(tmp_path / "x.json")


def test_prometheus_accepts_the_metrics_of_a_run():
    """promtool refuses the label `quantile` outside a summary, among others."""
    ledger = Ledger(["a"])
    ledger.confirm(ledger.add([0], [1.0], 1.0), 1.5)
    workload = Workload(mix=parse_mix("a=1"), profile=constant(10, 5))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunCollector(lambda: Stage("sending", "r", ledger), workload, "run"))
    page = generate_latest(registry)
    assert b'loadgen_send_lag_seconds{percentile="p99"} 0.5' in page
    assert b"quantile=" not in page
    if shutil.which("promtool") is not None:
        done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("flag", ["--out", "--html", "--csv"])
def test_a_disk_that_is_full_costs_neither_the_report_nor_the_other_files(flag, tmp_path, capsys):
    save(a_result(), tmp_path / "r.json")
    result = a_result()
    result.expectations = []
    full = tmp_path / "full" if flag == "--csv" else Path("/dev/full")
    if flag == "--csv":
        full.mkdir()
        (full / "series.csv").symlink_to("/dev/full")
    parser = argparse.ArgumentParser()
    output.add_output(parser)
    args = parser.parse_args([flag, str(full), "--junit", str(tmp_path / "j.xml")])
    with pytest.raises(UsageError, match="No space left"):
        output.finish(result, args, [])
    assert "400 sent = 400 succeeded" in capsys.readouterr().out
    assert "<testsuite" in (tmp_path / "j.xml").read_text()


@pytest.mark.parametrize("command", ["sweep", "compare", "plan"])
def test_a_full_disk_costs_no_other_report_either(command, tmp_path, monkeypatch, capsys):
    paths = [str(tmp_path / f"{number}.json") for number in range(5)]
    for number, path in enumerate(paths):
        save(replace(a_result(rate=100), run_id=str(number), expectations=[]), Path(path))
    monkeypatch.setattr(cli_sweep, "run_loop", lambda main: main.close() or [a_result("a=3,b=1")])
    flags = {
        "sweep": ["--mix", "a=3,b=1"],
        "compare": [*paths, "--", *paths],
        "plan": ["--from", paths[0], "--rate", "10"],
    }
    said = {"sweep": "speed-up", "compare": "no difference shown", "plan": "KEDA"}
    command_line = [command, "--html", "/dev/full", *flags[command]]
    assert main(command_line) == 2
    shown = capsys.readouterr()
    assert "No space left" in shown.err
    assert said[command] in shown.out


STEERING = "a\x1b[2J\x1b]0;owned\x07\x9b31m"


def test_nothing_that_a_type_or_redis_says_steers_the_terminal(capsys):
    result = a_result(f"{STEERING}=3,b=1")
    result.send_errors = {f"ERR {STEERING}": 3}
    result.command = [STEERING]
    judge_all([parse_expectation(f"e2e{{type={STEERING}}}.max < 1s")], result)
    output.show(result, as_json=False)

    shown = capsys.readouterr().out
    assert "\\x1b[2J" in shown
    assert not any(c in shown for c in "\x1b\x07\x9b")


def test_a_monitor_shows_a_name_that_steers_as_text(capsys):
    view = QueueView(1.0, 0, 0, 0, 0, False, {STEERING: 1}, (Worker(STEERING, STEERING, 1, 5, 0),))
    report_console().print(monitor._picture(view, 0.0, "", load_config(None, env={})))
    report_console().print(monitor._picture(view, 0.0, STEERING, load_config(None, env={})))
    print(monitor._line(view, 0.0, STEERING))

    shown = capsys.readouterr().out
    assert "\\x1b[2J" in shown
    assert not any(c in shown for c in "\x1b\x07\x9b")


def test_a_chart_has_a_value_for_each_share_also_for_two_that_are_one():
    values = [n / 1000 for n in range(1, 1001)]
    shares = [0.5, 0.9, 0.9, math.nextafter(1.0, 0.0), 1.0]
    found = curve(encode(values), shares)

    assert found == pytest.approx([0.5, 0.9, 0.9, 1.0, 1.0], rel=0.01)


def test_a_command_line_of_stray_bytes_is_written_as_it_was_typed(tmp_path, capsys):
    result = a_result()
    result.command = ["loadgen", "--out", "\udcff.json"]
    save(result, tmp_path / "r.json")
    html_flags = ["--html", str(tmp_path / "r.html"), "--markdown", str(tmp_path / "r.md")]

    assert main(["report", str(tmp_path / "r.json"), *html_flags, "--expect", "lost == 0"]) == 0
    assert "\\udcff.json" in (tmp_path / "r.html").read_text()


def test_quiet_leaves_the_report_and_errors(tmp_path, capsys):
    save(a_result(), tmp_path / "r.json")
    command = ["report", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
    assert main([*command, "--expect", "lost == 0", "--quiet"]) == 0
    said = capsys.readouterr()
    assert "400 sent = 400 succeeded" in said.out
    assert said.err == ""
    assert main(["report", "nowhere.json", "--quiet"]) == 2
    assert "cannot read nowhere.json" in capsys.readouterr().err
    assert main([*command, "--expect", "lost == 0"]) == 0
    assert "html: " in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_error(tmp_path):
    """`loadgen report run.json | head -1`."""
    save(a_result(), tmp_path / "r.json")
    command = f"{sys.executable} -m taskrig_loadgen report r.json --expect 'lost == 0'; echo $? >&2"
    done = subprocess.run(
        ["/bin/sh", "-c", f"({command}) | true"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr == "0\n"


def test_the_csv_tables_can_be_read_by_a_machine():
    tables = csv_report.tables(a_result(rate=100))
    rows = list(csv.DictReader(io.StringIO(tables["timeline.csv"])))
    assert [int(row["offered"]) for row in rows[:4]] == [100] * 4
    series = list(csv.DictReader(io.StringIO(tables["series.csv"])))
    wait = next(r for r in series if r["type"] == "a" and r["series"] == "wait")
    assert float(wait["p50"]) == pytest.approx(0.01, abs=1e-6)


def test_junit_has_a_failure_for_each_expectation_that_failed():
    tree = ElementTree.fromstring(junit.document(a_result()))
    assert tree.attrib["failures"] == "1"
    (case,) = (case for case in tree if case.attrib["name"] == HOSTILE)
    assert case[0].attrib["message"] == "was 1"


def test_markdown_keeps_its_table_whatever_a_type_is_called():
    text = markdown.summary(a_result(f"{HOSTILE}=3,b=1"))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "<script>" not in text.replace("`" + HOSTILE, "")


def test_markdown_adds_up_for_a_run_watched_from_outside():
    result = a_result()
    result.accounting.succeeded, result.accounting.gone = 0, 400
    assert "400 sent = 400 gone; 0 run twice" in markdown.summary(result)


def test_the_terminal_report_shows_types_as_they_are():
    console = Console(width=120, record=True, file=io.StringIO())
    for part in terminal.render(a_result("x[bold]y=3,b=1")):
        console.print(part)
    text = console.export_text()
    assert "x[bold]y" in text
    assert "400 sent = 400 succeeded + 0 failed + 0 lost" in text
    assert "FAIL" in text


class Generator:
    """An experiment of a queue: fails, or sends until it is interrupted."""

    def __init__(self, queue, error=None):
        self.queue, self.stage, self._error = queue, Stage(), error
        self._stopped = asyncio.Event()

    def interrupt(self, *, wait=False):
        self._stopped.set()

    async def run(self):
        if self._error:
            raise self._error
        await self._stopped.wait()
        await asyncio.sleep(0.05)  # the final search
        return replace(a_result(), queue=self.queue)


async def test_where_one_queue_fails_the_others_account_for_what_they_have_sent(capsys):
    fails = Generator("b", TaskrigError("the key 'b' holds a hash"))
    with pytest.raises(TaskrigError, match="the key 'b' holds a hash"):
        await asyncio.wait_for(live.conduct_all([Generator("a"), fails, Generator("c")]), 20)

    said = capsys.readouterr().err
    assert "a: stopped, 400 sent and 0 left in it" in said
    assert "c: stopped, 400 sent and 0 left in it" in said


def test_the_notes_of_a_run_are_one_text_in_junit():
    result = a_result(rate=100, warmup_s=1.0)
    result.send_errors = {"ERR no": 3}
    judge_all([], result)
    suite = ElementTree.fromstring(junit.document(result))
    (notes,) = suite.findall("system-out")
    assert "warm-up: the first 1 s" in notes.text
    assert "push error, 3 times: ERR no" in notes.text
