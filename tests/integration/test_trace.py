"""How far a reader travels with one plain task: ARCHITECTURE.md says so, and it stays so."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.processes import ROOT, environment

MOST_FILES, MOST_CHANGES = 10, 45
FOUND = r"(\d+) files, (\d+) changes of file"


def test_a_plain_task_enters_few_files_and_architecture_says_how_many(redis_url):
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.trace", "--redis-url", redis_url, "--list"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    files, changes = map(int, re.search(FOUND, done.stdout).groups())
    assert files <= MOST_FILES and changes <= MOST_CHANGES, done.stdout
    told = re.search(FOUND, (ROOT / "ARCHITECTURE.md").read_text())
    assert (files, changes) == tuple(map(int, told.groups())), "run python -m tests.support.trace"
