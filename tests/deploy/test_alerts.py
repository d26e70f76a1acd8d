"""Prometheus' rules: accepted by promtool, tested firing and not firing, with a runbook each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskrig.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
TESTS = sorted((FOLDER / "tests").glob("*.yaml"))


def _rules(file: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in _rules("alerts.yaml")}


def _alert_tests() -> list[tuple[str, bool]]:
    """(alert, whether it is expected to fire) for each check in the unit tests."""
    return [
        (check["alertname"], bool(check["exp_alerts"]))
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for check in test["alert_rule_test"]
    ]


def _promtool(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        assert not os.environ.get("CI"), "promtool must be installed in CI"
        pytest.skip("promtool is not installed (it comes with Prometheus)")
    return subprocess.run(
        ["promtool", *words], cwd=FOLDER, capture_output=True, text=True, check=False
    )


def test_prometheus_accepts_its_configuration_and_rules() -> None:
    done = _promtool("check", "config", "prometheus.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_alerts_fire_when_they_must_and_stay_silent_when_not(path: Path) -> None:
    done = _promtool("test", "rules", f"tests/{path.name}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_firing_and_not_firing() -> None:
    tested = set(_alert_tests())
    assert {(alert, fires) for alert in ALERTS for fires in (True, False)} - tested == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_severity_a_summary_and_a_runbook_with_its_three_answers(
    alert: str,
) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"]

    page = (ROOT / rule["annotations"]["runbook_url"]).read_text()
    assert page.startswith("# ")
    assert alert in page
    for heading in ("## What it means", "## How to look", "## What to do"):
        assert heading in page


def test_no_runbook_is_left_without_an_alert() -> None:
    named = {ROOT / rule["annotations"]["runbook_url"] for rule in ALERTS.values()}
    assert set((ROOT / "docs" / "runbooks").glob("*.md")) == named


def test_rules_only_ask_for_metrics_that_the_worker_exports() -> None:
    text = "\n".join(rule["expr"] for f in ("recording.yaml", "alerts.yaml") for rule in _rules(f))
    asked = set(re.findall(r"(?<![:\w])worker_\w+", text))
    metrics = Metrics(["email"], concurrency=1, version="1", config="0")
    metrics.looked = True  # as a worker that has reached Redis
    page, _ = metrics.expose("")
    exported = set(re.findall(r"^(worker_\w+)", page.decode(), re.MULTILINE))
    assert asked - exported == set()


def test_no_rule_knows_one_queues_job_by_name() -> None:
    rules = [*_rules("recording.yaml"), *_rules("alerts.yaml")]
    assert [rule["expr"] for rule in rules if re.search(r'\bjob="', rule["expr"])] == []
