"""config.yaml is read as people mean it, or refused by line and column."""

from __future__ import annotations

import codecs
import time
from pathlib import Path

import pytest

from taskrig.config.load import load_config
from taskrig.errors import UsageError


def test_without_a_file_the_defaults_serve(settings):
    config = settings.load()

    assert (config.queue.key, config.worker.max_concurrent, config.http.port) == (
        "async_tasks",
        5,
        9464,
    )
    assert config.source is None
    assert set(config.origins.values()) == {"default"}


def test_every_problem_is_said_at_once_from_top_to_bottom(settings):
    assert settings.problems("queue: {key: true}\nworker:\n  max_concurrent: -3\n  lease: 0\n") == [
        "config.yaml:1:9: queue.key: must be text; YAML reads this as true or false: quote it"
        " (got true)",
        "config.yaml:3:3: worker.max_concurrent: must be at least 1 (got -3)",
        "config.yaml:4:3: worker.lease: must be at least 500ms (got 0)",
    ]


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("", "config.yaml", "is empty"),
        ("# only a comment\n\n", "config.yaml", "is empty"),
        ("---\n", "config.yaml:", "must hold keys at the top (worker: ...), not a single value"),
        ("- worker\n", "config.yaml:1:1", "must hold keys at the top (worker: ...), not a list"),
        ("worker\n", "config.yaml:1:1", "not a single value"),
        ("worker:\n\tlease: 5s\n", "config.yaml:2:1", "a tab cannot indent YAML; use spaces"),
        ("worker: {}\nworker: {}\n", "config.yaml:2:1", "worker: appears twice (first on line 1)"),
        ("wroker: {}\n", "config.yaml:1:1", "wroker: unknown key; did you mean worker?"),
        (
            "worker:\n  concurency: 3\n",
            "config.yaml:2:3",
            "unknown key; did you mean max_concurrent?",
        ),
        ("worker:\n  lease_s: 3\n", "config.yaml:2:3", "unknown key; did you mean lease?"),
        ("max_tasks: 3\n", "config.yaml:1:1", "unknown key; did you mean worker.max_tasks?"),
        ("worker: 3\n", "config.yaml:1:1", "worker: must hold keys of its own"),
        ("worker: [a]\n", "config.yaml:1:1", "worker: must hold keys of its own"),
        ("tasks: {a: 3}\n", "config.yaml:1:9", "tasks.a: must hold keys of its own"),
        ("tasks: {no: {}, 'no': {}}\n", "config.yaml:1:17", "tasks.no: appears twice"),
        ("!name worker: {}\n", "config.yaml:1:1", "tags (!name"),
        ("worker: {lease: !!python/object:os.system x}\n", "config.yaml:1:10", "tags (!name"),
        ("worker: !!python/object/apply:os.system [x]\n", "config.yaml:1:1", "tags (!name"),
        ("worker: {lease: !secret x}\n", "config.yaml:1:10", "tags (!name"),
        ("a: &a {lease: 5s}\nworker:\n  <<: *a\n", "config.yaml:3:3", "merge keys (<<)"),
        ("worker: *nowhere\n", "config.yaml:1:9", "alias that is nowhere defined"),
        ("worker: {}\n---\nqueue: {}\n", "config.yaml:2:1", "a second document (---)"),
        ("worker: {lease: 5s\n", "config.yaml:2:1", "is not YAML here"),
        ("worker: lease: 5s\n", "config.yaml:1:14", "unexpected colon"),
        ("worker:\n  lease:5s\n  interval: 1\n", "config.yaml:3:11", "unexpected colon"),
        ("worker:\n  'lease: 5s\n", "config.yaml:3:1", "is not YAML here"),
        ("queue: {key: @x}\n", "config.yaml:1:14", "quote text that begins with"),
        ("? [a]\n: b\n", "config.yaml:1:3", "a key must be a plain word"),
        ("a\0b: 1\n", "config.yaml:1:1", "characters that YAML does not allow"),
        (b"queue: {key: \xff}\n", "config.yaml", "is not UTF-8 text (line 1)"),
        ("queue: {key: x}\n".encode("utf-16"), "config.yaml", "is not UTF-8 text (line 1)"),
        (b"#" * 300_000, "config.yaml", "is larger than 256 KiB"),
    ],
)
def test_a_broken_file_is_refused_with_a_line_that_says_where(settings, text, where, says):
    lines = settings.problems(text)

    assert any(line.startswith(where) and says in line for line in lines), lines


def test_a_named_file_that_is_missing_or_a_folder_is_refused(settings, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for name, says in (
        ("nowhere.yaml", "nowhere.yaml: no such file"),
        (".", ".: is a folder, not a file"),
        ("loop", "loop: cannot be read"),
        ("a\0b", "not a usable file name"),
    ):
        with pytest.raises(UsageError, match=says.replace(".", r"\.")):
            load_config(Path(name), env={})


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(settings):
    config = settings.load(codecs.BOM_UTF8 + b"worker:\r\n  lease: 30s\r\n")

    assert config.worker.lease_s == 30.0


def test_an_empty_section_means_its_defaults(settings):
    config = settings.load("worker:\ntasks:\nqueue: {key: x}\n")

    assert (config.worker.max_concurrent, dict(config.tasks)) == (5, {})


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 5_000,
        "worker: &a {x: *a}\n",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n"
            for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ),
    ],
    ids=["brackets", "braces", "an alias in itself", "aliases that multiply"],
)
def test_nesting_and_aliases_cannot_blow_up(settings, text):
    started = time.process_time()

    lines = settings.problems(text)

    assert any("levels" in line for line in lines), lines
    assert len(lines) < 20
    assert time.process_time() - started < 10


def test_an_alias_repeats_a_value(settings):
    config = settings.load("tasks:\n  a: &slow {timeout: 5m}\n  b: *slow\n")

    assert config.tasks["b"].timeout_s == 300.0


@pytest.mark.parametrize(
    ("written", "reading"),
    [
        ("true", "true or false"),
        ("False", "true or false"),
        ("1.0", "a number"),
        ("1e3", "a number"),
        (".inf", "a number"),
        ("~", "nothing"),
        ("123", "a number"),
    ],
)
def test_text_that_yaml_takes_for_something_else_must_be_quoted(settings, written, reading):
    assert settings.problem(f"queue:\n  key: {written}\n") == (
        f"config.yaml:2:3: queue.key: must be text; YAML reads this as {reading}: "
        + (
            f"fill it in, or quote it (got {written})"
            if written == "~"
            else f"quote it (got {written})"
        )
    )
    assert settings.load(f'queue:\n  key: "{written}"\n').queue.key == written


@pytest.mark.parametrize(
    "written",
    ["no", "on", "yes", "y", "012", "0x1F", "0o17", "1_000", "12:30", "2026-01-31", "=", "1.2.3"],
)
def test_words_are_text_as_yaml_1_2_has_them(settings, written):
    assert settings.load(f"queue:\n  key: {written}\n").queue.key == written
    assert settings.load(sets=[f"queue.key={written}"]).queue.key == written


@pytest.mark.parametrize("key", ["no", "012", "12", "true", "null", "1.5", "12:30"])
def test_a_key_is_text_whatever_it_looks_like(settings, key):
    assert list(settings.load(f"tasks: {{{key}: {{timeout: 3s}}}}\n").tasks) == [key]


@pytest.mark.parametrize(
    ("written", "holds"),
    [("true", True), ("False", False), ("yes", True), ("no", False), ("on", True), ("off", False)],
)
def test_a_setting_that_is_yes_or_no_takes_the_words_for_it(settings, written, holds):
    assert settings.load(f"http: {{enabled: {written}}}").http.enabled is holds
