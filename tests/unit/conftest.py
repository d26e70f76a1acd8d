"""Fixtures of the unit tests: no Redis, no clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A config.yaml to write, in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    return Settings(tmp_path)
