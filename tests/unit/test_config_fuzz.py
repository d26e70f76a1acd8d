"""Whatever is written, a configuration holds or is refused with problem lines."""

from __future__ import annotations

import contextlib

import hypothesis
from hypothesis import strategies as st

from taskrig.config.show import as_yaml
from taskrig.errors import UsageError

WORDS = [
    "worker",
    "redis",
    "tasks",
    "handlers",
    "lease",
    "url",
    "password",
    "a",
    "b",
    "x: ",
    "- ",
    ":",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "!x ",
    "|",
    ">",
    "'",
    '"',
    "#",
    "%",
    "@",
    "`",
    "?",
    "~",
    "<<",
    "1",
    "012",
    "no",
    "12:30",
    ".inf",
    "2026-01-01",
    "${X}",
    "${",
    "---\n",
    "...\n",
    "!!int ",
    "!!str ",
    "!!binary ",
    "!!set ",
    "!!omap ",
    "!!float ",
    "!!null ",
    "!!timestamp ",
    "\n",
    "\n  ",
    "\n    ",
    " ",
    "\t",
    "\0",
    "\ufeff",
    "\U0001f600",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=25).map("".join)
QUICK = hypothesis.settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


@hypothesis.given(text=TEXTS | st.binary(max_size=60))
@QUICK
def test_nothing_that_a_file_can_hold_is_worse_than_problem_lines(settings, text):
    lines = []
    try:
        assert as_yaml(settings.load(text))
    except UsageError as error:
        lines = str(error).splitlines()

    assert all(line.startswith("config.yaml") for line in lines)


@hypothesis.given(text=TEXTS, name=st.sampled_from(["worker", "worker.lease", "a.b", "tasks.x"]))
@QUICK
def test_nothing_given_outside_a_file_is_worse_than_problem_lines(settings, text, name):
    variable = f"TASKRIG_{name.upper().replace('.', '__')}"
    for layer in (
        {"sets": [f"{name}={text}", text]},
        {"env": {variable: text, "TASKRIG_HANDLERS": text}},
        {"flags": {name: text, "redis.url": text}},
    ):
        with contextlib.suppress(UsageError):
            settings.load(**layer)
