"""The checks of deploy/checks that are JavaScript, installed by npm beside this run's files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKS = Path(__file__).resolve().parents[2] / "deploy" / "checks"


class NpmCheck:
    """One of them, with the packages that it needs; skips where there is no npm, in CI fails."""

    def __init__(self, name: str, folder: Path) -> None:
        if not (shutil.which("npm") and shutil.which("node")):
            assert not os.environ.get("CI"), "CI needs node and npm"
            pytest.skip("no node and npm on the PATH")
        self._folder = folder / name
        shutil.copytree(CHECKS / name, self._folder)
        install = ("npm", "install", "--silent", "--no-audit", "--no-fund")
        done = self._run(*install, timeout_s=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run check.mjs with these arguments and standard input."""
        return self._run("node", "check.mjs", *arguments, given=given, timeout_s=60)

    def _run(
        self, *command: str, timeout_s: float, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self._folder,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
