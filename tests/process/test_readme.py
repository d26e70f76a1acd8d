"""README.md's walks to one's own handler run as they stand; README.zh-CN.md is in step with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, environment

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PLAIN, DJANGO = "### In plain Python", "### In Django"


def walk(heading: str) -> list[tuple[str, str]]:
    """Language and text of the blocks below a heading that are marked with a language."""
    part = ENGLISH.read_text().split(heading)[1]
    return [found for found in BLOCK.findall(re.split(r"^##", part, flags=re.M)[0]) if found[0]]


@pytest.fixture
def take(world, tmp_path):
    """Do what a block says, in an empty folder: write the file that it names, or type it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, words in {"worker": "-m taskrig", "python": "", "django-admin": "-m django"}.items():
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (tools / name).chmod(0o755)
    folder = tmp_path / "mine"
    folder.mkdir()

    def taken(kind: str, code: str) -> str:
        code = code.replace("redis://localhost:6379/0", world.url).replace("9465", "0")
        if kind == "sh":
            return type_in(folder, tools, code)
        name = re.match(r"# ([\w./]+\.(?:py|yaml))", code)
        assert name, code
        path = folder / name[1]
        before = path.read_text() if "add at the end" in code.splitlines()[0] else ""
        path.write_text(before + code)
        return ""

    return taken


def type_in(folder: Path, tools: Path, code: str) -> str:
    """Run it in a shell; what it printed."""
    path = f"{tools}:{environment({})['PATH']}"
    done = subprocess.run(
        ["sh", "-eu", "-c", code],
        cwd=folder,
        env=environment({"PATH": path}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, (code, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize(
    ("heading", "said"),
    [(PLAIN, "resizing cat.png"), (DJANGO, "hello you, you are number 1")],
    ids=["plain", "django"],
)
def test_the_walk_to_ones_own_handler_runs_and_prints_what_it_says(take, heading, said):
    printed = "".join([take(kind, code) for kind, code in walk(heading)])
    assert said in printed
    assert f"`{said}`" in ENGLISH.read_text()


# -- in step -----------------------------------------------------------------------------------


def headings(page: Path) -> list[int]:
    """The level of each heading outside of code."""
    text = BLOCK.sub("", page.read_text())
    return [len(found) for found in re.findall(r"^(#+) ", text, re.M)]


def code(page: Path) -> list[tuple[str, str]]:
    """Every block without what is for people: comments, docstrings and texts in quotes."""
    plain = []
    for kind, block in BLOCK.findall(page.read_text()):
        without = re.sub(r'"""[^"]*"""', '""', re.sub(r"(^|\s)#.*", "", block))
        plain.append((kind, "\n".join(line.rstrip() for line in without.splitlines())))
    return plain


def test_both_readmes_have_the_same_headings_code_pictures_and_links():
    pages = ENGLISH, CHINESE
    assert headings(ENGLISH) == headings(CHINESE)
    assert code(ENGLISH) == code(CHINESE)
    pictures = [re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text()) for page in pages]
    assert pictures[0] == pictures[1]
    linked = [set(re.findall(r"\]\((docs/[^)]+)\)", page.read_text())) for page in pages]
    assert linked[0] == linked[1]


def test_both_readmes_have_the_same_figures():
    def figures(page: Path) -> list[str]:
        first = page.read_text().split("\n## ")[0]
        return re.findall(r"\d+(?:[.,]\d+)*", "\n".join(re.findall(r"^\| \*\*.*$", first, re.M)))

    assert sorted(figures(ENGLISH)) == sorted(figures(CHINESE))


def test_the_readmes_speeds_are_those_of_the_benchmarks():
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    said = " ".join(ENGLISH.read_text().split())

    def times(slots: int, name: str) -> float:
        table = page.split(f"### No-op tasks, {slots} at once: tasks/s")[1].split("###")[0]
        row = re.search(rf"^\| {name}.*\| ([\d.]+) \|$", table, re.M)
        assert row, name
        return float(row[1])

    names = ("BullMQ", "ArdiQ", "Taskiq", "arq", "Celery")
    assert ", ".join(f"{times(100, name):.0f} times {name}" for name in names) in said
    *first, last = [f"{times(10, name):.1f}" for name in names]
    assert f"{', '.join(first)} and {last} times" in said


def test_the_readmes_table_of_other_queues_is_the_one_with_the_sources():
    def rows(page: Path) -> set[str]:
        return {line for line in page.read_text().splitlines() if line.count("|") == 11}

    shown = rows(ENGLISH)
    assert len(shown) > 10
    assert shown <= rows(ROOT / "docs" / "comparison.md")
