"""Fixtures of the tests that run real commands."""

from __future__ import annotations

import json
import sys

import pytest

from tests.support.typed import typed


@pytest.fixture
def type_in(world, monkeypatch):
    """Type `worker ...` at the world's queue; returns what it said, with --json as a value."""
    monkeypatch.chdir(world.folder)  # no config.yaml here
    monkeypatch.setattr(sys, "path", list(sys.path))

    def at_the_queue(*args, code=0, as_json=False):
        words = [*args, "--redis-url", world.url, *(["--json"] if as_json else [])]
        got, out, err = typed(*words)
        assert got == code, (got, out, err)
        return json.loads(out) if as_json else out.decode() + err

    return at_the_queue
