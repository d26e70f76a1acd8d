"""Workload files: what they hold, the examples, errors with file:line, payloads."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

import taskrig_loadgen
from taskrig.config.sections import Config
from taskrig.errors import UsageError
from taskrig_loadgen.cli import run
from taskrig_loadgen.cli.workload_file import read_workload
from taskrig_loadgen.load.payload import make_pool

EXAMPLES = sorted((Path(taskrig_loadgen.__file__).parent / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_can_be_read(path):
    workload, expectations = read_workload(path)
    assert workload.total > 100
    assert expectations


def test_a_file_says_all_that_flags_can_say(tmp_path):
    path = tmp_path / "load.yaml"
    path.write_text(
        "mix: {fast: 3, email: 1}\nprofile: 30s@50, 1m@50..500\narrivals: burst:5\nseed: 7\n"
        "shuffle: true\nwarmup: 5s\ndrain_timeout: 1m\ndata:\n  email: {size: 1KiB}\n"
        "expect:\n  - e2e.p99 < 50ms\n  - lost == 0\n"
    )
    workload, expectations = read_workload(path)
    assert workload.mix.text == "fast_task=3,email=1"
    assert workload.profile.text == "30s@50, 60s@50..500"
    assert workload.arrivals.text == "burst:5"
    assert (workload.seed, workload.shuffle, workload.warmup_s) == (7, True, 5.0)
    assert workload.drain_timeout_s == 60
    assert [len(pool[0]) for pool in workload.bodies] == [2, 1024]
    assert [one.text for one in expectations] == ["e2e.p99 < 50ms", "lost == 0"]


@pytest.mark.parametrize(("word", "holds"), [("true", True), ("yes", True), ("no", False)])
def test_yes_and_no_are_true_and_false(tmp_path, word, holds):
    path = tmp_path / "load.yaml"
    path.write_text(f"mix: {{fast: 1}}\nshuffle: {word}\n")
    assert read_workload(path)[0].shuffle is holds


def test_flags_win_over_the_file(tmp_path):
    path = tmp_path / "load.yaml"
    path.write_text("mix: {fast: 1}\nrate: 5\nduration: 2s\nseed: 7\ndrain_timeout: 1m\n")

    def read(*flags: str) -> tuple[int, float]:
        parser = argparse.ArgumentParser()
        run.configure(parser)
        workload, _ = run.make_workload(parser.parse_args([str(path), *flags]), Config())
        return workload.seed, workload.drain_timeout_s

    assert read() == (7, 60)
    assert read("--seed", "0", "--drain-timeout", "2s") == (0, 2)
    with pytest.raises(UsageError, match="--drain-timeout"):
        read("--drain-timeout", "soon")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mix: {fast: 1}\nrats: 5\n", "load.yaml:2:1: unknown key 'rats'; did you mean rate?"),
        ("rate: 5\n", "load.yaml: needs a mix"),
        ("mix: fast=3\n", "load.yaml:1:1: needs a mix"),
        ("mix:\n  fast: 1\n  slow: -2\n", "load.yaml:3:3: the count of 'slow' must be 0 or more"),
        (
            "mix: {fast: 3, fast_task: 2}\n",
            "load.yaml:1:1: fast_task is given twice (fast is short for it); add",
        ),
        (
            "mix: {fast: 1}\ndata: {fast: {}, fast_task: {}}\n",
            "load.yaml:2:18: fast_task is given twice",
        ),
        ("mix: {fast: 1}\nrate: 5\n", "load.yaml:2:1: give rate and duration"),
        ("mix: {fast: 1}\nprofile: 30s\n", "load.yaml:2:1: profile, segment 1"),
        ("mix: {fast: 1}\narrivals: often\n", "load.yaml:2:1: arrivals 'often'"),
        ("mix: {fast: 1}\nwarmup: soon\n", "load.yaml:2:1: warmup: duration"),
        ("mix: {fast: 1}\nseed: x\n", "load.yaml:2:1: seed must be a whole number"),
        ("mix: {fast: 1}\nshuffle: 3\n", "load.yaml:2:1: shuffle must be true or false"),
        ("mix: {fast: 1}\nexpect:\n  - lost == 0\n  - lots == 0\n", "load.yaml:4:5: expect"),
        ("mix: {fast: 1}\ndata: {email: {}}\n", "load.yaml:2:8: 'email' is not in the mix"),
        ("mix: {fast: 1}\ndata: {fast: {sice: 3}}\n", "did you mean size?"),
        ("mix: {fast: 1}\ndata: {fast: {template: '{wat}'}}\n", "unknown field {wat}"),
        ("mix: {fast: 1}\ndata: {fast: {template: {a: b}, size: 5}}\n", "less than the template"),
        ("mix: {fast: 1}\ndata: {fast: {pool: 0}}\n", "at least 1"),
        ("mix: {fast: 1}\ndata: {fast: {size: 100000MiB}}\n", "too large; at most 64MiB"),
        ("mix: [1]\n", "needs a mix"),
        ("mix: {fast: 1\n", "load.yaml:"),
        ("", "is empty"),
    ],
)
def test_an_error_in_a_file_is_told_with_its_line(text, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("load.yaml").write_text(text)
    with pytest.raises(UsageError) as raised:
        read_workload(Path("load.yaml"))
    assert why in str(raised.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(UsageError, match=r"nowhere\.yaml"):
        read_workload(Path("nowhere.yaml"))


def pool(template: object, **more: int | None) -> list[object]:
    options = {"size": None, "pool": None, "seed": 1, **more}
    return [json.loads(raw) for raw in make_pool(template, where="here", **options)]


def test_a_template_without_fields_is_made_once():
    assert pool({"a": 1, "b": ["x"]}) == [{"a": 1, "b": ["x"]}]


def test_fields_are_filled_in_and_repeat_with_the_seed():
    template = {"n": "{n}", "to": "u{n}@x.org", "k": "{choice:a|b}", "i": "{int:1:9}", "c": "{{x}}"}
    made = pool(template, pool=50)
    assert made == pool(template, pool=50)
    assert made != pool(template, pool=50, seed=2)
    assert [one["n"] for one in made] == list(range(50))
    assert made[7]["to"] == "u7@x.org"
    assert {one["k"] for one in made} == {"a", "b"}
    assert {one["i"] for one in made} <= set(range(1, 10))
    assert made[0]["c"] == "{x}"
    assert len({one["u"] for one in pool({"u": "{uuid}"}, pool=50)}) == 50


@pytest.mark.parametrize("size", [100, 1024, 65_536])
def test_a_payload_has_exactly_the_size_asked_for(size):
    (raw,) = make_pool({"a": "b"}, size=size, pool=None, seed=1, where="here")
    assert len(raw) == size
