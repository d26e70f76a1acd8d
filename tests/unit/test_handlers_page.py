"""Every block of docs/handlers.md runs, and its tests pass."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import yaml

from taskrig.authoring.options import Options
from taskrig.config.sections import TaskConfig
from taskrig.cron import parse_line
from taskrig.engine.policies import Limits
from taskrig.task import decode

PAGE = (Path(__file__).parents[2] / "docs/handlers.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


async def test_the_python_of_the_page_runs_and_its_tests_pass():
    page = {"__name__": "handlers_page"}
    for block in blocks("python"):
        exec(compile(block, "docs/handlers.md", "exec"), page)
    tests = [value for name, value in page.items() if name.startswith("test_")]
    assert len(tests) == 7
    for test in tests:
        if inspect.iscoroutinefunction(test):
            await test()


def test_the_tests_in_fake_time_pass():
    page = {"__name__": "handlers_page"}
    for block in blocks("python"):
        exec(compile(block, "docs/handlers.md", "exec"), page)
    page["test_a_report_may_take_nine_minutes_and_not_eleven"]()


def test_the_settings_of_the_page_are_settings(settings):
    block, schedule = blocks("yaml")
    assert parse_line(settings.load(schedule).schedule[0]).name == "nightly"
    charge = settings.load(block).tasks["charge"]
    assert set(yaml.safe_load(block)["tasks"]["charge"]) == {
        name.removesuffix("_s") for name in TaskConfig.model_fields
    }
    limits = Limits.of("charge", Options(**charge.model_dump()))
    assert (limits.here, limits.total, limits.every_us, limits.unique) == (4, 10, 10_000, True)


def test_the_task_of_the_page_is_a_task():
    (block,) = blocks("json")
    assert decode(block.encode()).run_at == json.loads(block)["run_at"]
