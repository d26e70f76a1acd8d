"""What is checked in works on every machine: no address of a package index, no path of ours."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURES = {".png", ".svg", ".ico", ".gif"}
# Folders that every machine has, and that files may name though this checkout lies in one.
EVERYWHERE = {Path(tempfile.gettempdir()), *map(Path, ("/tmp", "/opt", "/srv", "/usr/src"))}
INDEX = re.compile(
    r"://[\w.-]+(:\d+)?/(simple|debian|npm|pypi)\b|://registry\.|--(extra-)?index-url [^$]"
)


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [p for p in paths if p.is_file() and p.suffix not in PICTURES]


def _lines(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in _tracked()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_the_address_of_a_package_index() -> None:
    assert _lines(INDEX) == []


def test_no_file_names_a_path_of_the_machine_it_was_made_on() -> None:
    folders = {ROOT, ROOT.parent, Path.home()} - EVERYWHERE
    here = [re.escape(f"{folder}/") for folder in folders if len(str(folder)) > 1]
    assert _lines(re.compile("|".join(here))) == []


@pytest.mark.parametrize("lock", ["runtime", "build", "dev", "docs"])
def test_every_locked_package_has_a_version_and_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())

    assert "://" not in text
    assert len(entries) > 3
    for entry in entries:
        assert re.match(r"^[a-z0-9._-]+==[\w.]+", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_dev_lock_holds_every_runtime_package_in_the_same_version() -> None:
    def versions(lock: str) -> dict[str, str]:
        text = (ROOT / "requirements" / f"{lock}.txt").read_text()
        return dict(re.findall(r"^([a-z0-9._-]+)==([\w.]+)", text, re.MULTILINE))

    dev = versions("dev")
    assert {name: dev.get(name) for name in versions("runtime")} == versions("runtime")
