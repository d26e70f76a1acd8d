"""The dashboards: as their script makes them, by the rules of Grafana's dashboard-linter."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from taskrig.metrics import Metrics
from tests.deploy.npm_check import NpmCheck

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
BOARDS = {
    path.stem: json.loads(path.read_text()) for path in (GRAFANA / "dashboards").glob("*.json")
}
PANELS = [(uid, panel) for uid, board in BOARDS.items() for panel in board["panels"]]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SCRAPED = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}

every_board = pytest.mark.parametrize("uid", BOARDS)
every_panel = pytest.mark.parametrize(
    ("uid", "panel"), PANELS, ids=[f"{uid}: {panel['title']}" for uid, panel in PANELS]
)


def expressions() -> list[str]:
    """Every PromQL expression of every panel, as it stands."""
    return [target["expr"] for _, panel in PANELS for target in panel["targets"]]


def test_the_dashboards_are_what_their_script_makes() -> None:
    done = subprocess.run(
        [sys.executable, str(GRAFANA / "make_dashboards.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + "run python deploy/grafana/make_dashboards.py"


@pytest.fixture(scope="module")
def grafanas_types(tmp_path_factory: pytest.TempPathFactory) -> NpmCheck:
    return NpmCheck("dashboards", tmp_path_factory.mktemp("npm"))


def test_the_dashboards_are_what_grafanas_published_types_say(grafanas_types: NpmCheck) -> None:
    paths = sorted(str(path) for path in (GRAFANA / "dashboards").glob("*.json"))
    done = grafanas_types.run(*paths)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(BOARDS)} dashboards, 0 faults" in done.stdout


def test_a_key_or_a_value_that_grafana_does_not_know_would_be_found(
    grafanas_types: NpmCheck, tmp_path: Path
) -> None:
    board = copy.deepcopy(BOARDS["taskrig-overview"])
    board["annotations"]["list"] = [
        {"name": "Runs", "enable": True, "iconColor": "blue", "expr": "up"}
    ]
    board["panels"][0]["options"]["graphMode"] = "circle"
    board["panels"][7]["gridPos"]["width"] = 3
    (tmp_path / "board.json").write_text(json.dumps(board))
    done = grafanas_types.run(str(tmp_path / "board.json"))
    assert done.returncode == 1, done.stdout + done.stderr
    for fault in ('"expr"', '"circle"', '"width"'):
        assert fault in done.stdout


@every_board
def test_a_dashboard_can_be_provisioned(uid: str) -> None:
    board = BOARDS[uid]
    text = json.dumps(board)

    assert board["uid"] == uid
    assert "id" not in board
    assert board["title"]
    assert board["description"]
    assert "__inputs" not in board, "placeholders of the import format break under provisioning"
    assert "${DS_" not in text
    first = board["templating"]["list"][0]
    assert (first["name"], first["type"], first["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )


@every_board
def test_no_two_panels_overlap_or_share_an_id(uid: str) -> None:
    panels = BOARDS[uid]["panels"]
    cells = [
        (x, y)
        for panel in panels
        for spot in [panel["gridPos"]]
        for x in range(spot["x"], spot["x"] + spot["w"])
        for y in range(spot["y"], spot["y"] + spot["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


@every_panel
def test_a_panel_has_title_description_unit_and_the_chosen_datasource(
    uid: str, panel: dict[str, Any]
) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == SOURCE
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        assert target["legendFormat"]
        if "loadgen_" not in target["expr"]:  # whose job is its own
            assert "$job" in target["expr"], "the variable at the top must have an effect"


@every_panel
def test_rates_follow_the_scrape_interval_and_every_expression_parses(
    uid: str, panel: dict[str, Any]
) -> None:
    for target in panel["targets"]:
        expr = target["expr"]
        windows = re.findall(r"rate\([^\[]*\[([^\]]+)\]", expr)
        assert set(windows) <= {"$__rate_interval"}
        promql_parser.parse(expr.replace("$__rate_interval", "1m"))


def test_what_a_whole_queue_says_is_taken_once_for_each_queue() -> None:
    """By a plain max, with all jobs chosen, the largest queue would stand for all of them."""
    whole = r"\bworker_(?:queue_depth|queue_held|tasks_held|paused|dead_letters_trimmed_total)\b"
    once = r"max by \(job(?:, \w+)?\) \((?:rate\()?" + whole
    asked = [expr for expr in expressions() if re.search(whole, expr)]
    assert asked
    assert [e for e in asked if len(re.findall(whole, e)) != len(re.findall(once, e))] == []


def test_no_panel_shows_one_queue_of_several_chosen() -> None:
    """Only an age is the largest of all: the oldest task is the oldest of any queue."""
    largest = [e for e in expressions() if re.match(r"max ?(by \((?!run|percentile|job)|\()", e)]
    assert {re.sub(r"\{.*?\}", "", e) for e in largest} == {"max(worker_queue_oldest_age_seconds)"}


def test_panels_only_ask_for_what_the_worker_exports_or_a_rule_records() -> None:
    metrics = Metrics(["email"], concurrency=1, version="1", config="0")
    metrics.looked = True  # as a worker that has reached Redis
    metrics.held_by_type = {"email": 0}  # as where the type has limits
    metrics.processes = lambda: (0, 0)  # as where a type runs in processes
    metrics.of("email").batches = metrics.of("email").wait  # as where it has batches
    page, _ = metrics.expose("")
    exported = set(re.findall(r"^(worker_\w+|process_\w+)", page.decode(), re.MULTILINE))
    rules = yaml.safe_load((ROOT / "deploy/prometheus/recording.yaml").read_text())["groups"]
    recorded = {rule["record"] for group in rules for rule in group["rules"]}
    generator = (ROOT / "loadgen/taskrig_loadgen/report/exporter.py").read_text()
    for family, name in re.findall(r'(\w+)MetricFamily\(\s*"(loadgen_\w+)"', generator):
        exported.add(name + {"Counter": "_total", "Info": "_info"}.get(family, ""))
    asked = {
        name
        for expr in expressions()
        for name in re.findall(r"(?<![\w:$])((?:job\w*:)?(?:worker|process|loadgen)_[\w:]+)", expr)
    }

    assert asked - exported - recorded - SCRAPED == set()


def test_every_exported_metric_is_on_a_dashboard_or_in_a_rule() -> None:
    page, _ = Metrics(["email"], concurrency=1, version="1", config="0").expose("")
    exported = set(re.findall(r"^# TYPE (worker_\w+)", page.decode(), re.MULTILINE))
    shown = "\n".join(expressions()) + "".join(
        (ROOT / "deploy" / "prometheus" / name).read_text()
        for name in ("recording.yaml", "alerts.yaml")
    )
    assert {name for name in exported if name not in shown} == set()
