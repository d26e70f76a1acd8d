"""The table for those who have an `async_command` of their own: its commands are commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from taskrig.cli.entry import build_parser as worker_parser
from taskrig.contrib.django.management.commands import add_test_tasks, async_command
from taskrig.frame.parser import parse
from taskrig_loadgen.cli.entry import BARE
from taskrig_loadgen.cli.entry import build_parser as loadgen_parser

DOCS = Path(__file__).parents[2] / "docs"
DJANGO = {"async_command": async_command.Command, "add_test_tasks": add_test_tasks.Command}


def commands(page: str) -> list[list[str]]:
    """The commands of the right column, in words."""
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|$", (DOCS / page).read_text(), re.M)
    said = [code for row in rows for code in re.findall(r"`([^`]+)`", row)]
    return [
        shlex.split(code) for code in said if code.split()[0] in ("python", "worker", "loadgen")
    ]


ENGLISH, CHINESE = commands("django.md"), commands("from-async-command.zh.md")


def test_both_pages_name_the_same_commands():
    assert len(CHINESE) > 15
    assert [words for words in ENGLISH if words in CHINESE] == CHINESE


@pytest.mark.parametrize("words", CHINESE, ids=shlex.join)
def test_each_command_is_understood(words):
    program, *rest = words
    if program == "worker":
        parse(worker_parser(), rest, default="run")
    elif program == "loadgen":
        parse(loadgen_parser(), rest, default=BARE)
    else:
        script, name, *flags = rest
        assert script == "manage.py"
        DJANGO[name]().create_parser("manage.py", name).parse_args(flags)
