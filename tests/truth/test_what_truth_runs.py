"""`make truth` runs what CI leaves out (pytest drops a file whose folder is named before it)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_make_truth_collects_the_long_tests_too() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = next(line for line in makefile.splitlines() if "pytest tests/truth/" in line)
    words = recipe.partition("pytest ")[2].partition(" -s")[0]
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m pytest --collect-only -q {words}', sys.executable],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = ROOT / "tests" / "truth"
    for path in (*folder.glob("test_*.py"), *folder.glob("full_*.py")):
        assert path.name in done.stdout, f"{path.name} is not run"
