"""What the operator's pages name is there: files, make targets, metrics, alerts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from taskrig.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / "operations.md", *sorted((ROOT / "docs" / "runbooks").glob("*.md"))]
WRITTEN_LATER = {"deploy/compose.pinned.yaml"}  # by make pin

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@every_page
def test_every_file_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    linked = [page.parent / target for target in re.findall(r"\]\(([^)#:]+)\)", text)]
    named = re.findall(r"`((?:deploy|docs|worker|loadgen|tests)/[\w./-]+)`", text)

    assert [str(path) for path in linked if not path.exists()] == []
    assert [n for n in named if n not in WRITTEN_LATER and not (ROOT / n).exists()] == []


@every_page
def test_every_make_target_and_metric_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    exposed, _ = Metrics(["email"], concurrency=1, version="1", config="0").expose("")

    assert set(re.findall(r"`make ([a-z-]+)", text)) - targets == set()
    metrics = re.findall(r"`(worker_\w+)", text)
    assert [name for name in metrics if name not in exposed.decode()] == []


def test_the_table_of_alerts_is_complete() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"]]
    short = {re.sub("Slow$", "Fast", alert) for alert in alerts}

    assert {alert for alert in short if alert not in text} == set()
