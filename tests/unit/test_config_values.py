"""Each kind of value is read with its unit, and refused with what would be right."""

from __future__ import annotations

import pytest

from taskrig.config.sections import Config, HttpConfig, WorkerConfig


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("0", "must be at least 1 (got 0)"),
        ("-1", "must be at least 1 (got -1)"),
        ("1.5", "must be a whole number (got 1.5)"),
        ('"10"', 'must be a whole number without quotes (got "10")'),
        ("true", "must be a whole number (got true)"),
        ("1e9", "must be a whole number (got 1e9)"),
        ("1000000000", "must be at most 100000 (got 1000000000)"),
        ("null", "must be a whole number (got null)"),
        (".inf", "must be a whole number (got .inf)"),
        (".nan", "must be a whole number (got .nan)"),
        ("ten", "must be a whole number (got ten)"),
        ("010", "must be a whole number (got 010)"),
        ("[1]", "must be a whole number"),
        ("{a: 1}", "must be a whole number"),
        ("9" * 5000, "must be a whole number (got 999"),
    ],
)
def test_a_count_that_is_no_count_is_refused(settings, written, says):
    line = settings.problem(f"worker:\n  max_concurrent: {written}\n")

    assert line.startswith("config.yaml:2:3: worker.max_concurrent: ")
    assert says in line
    assert len(line) < 250


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("15s", 15.0),
        ("5m", 300.0),
        ("1m30s", 90.0),
        ("10min", 600.0),
        ("1h", 3600.0),
        ("2", 2.0),
        ("0.5", 0.5),
        ("1.5s", 1.5),
        ('"2s"', 2.0),
    ],
)
def test_a_duration_takes_a_unit_or_is_seconds(settings, written, seconds):
    assert settings.load(f"worker: {{interval: {written}}}").worker.interval_s == seconds


@pytest.mark.parametrize(
    "written",
    ["0", "0s", "-1", "-1s", ".inf", ".nan", "soon", "5 mins", "true", "null", "1:30", "2h", '"5"'],
)
def test_a_duration_that_cannot_be_is_refused(settings, written):
    line = settings.problem(f"worker: {{interval: {written}}}")

    assert line.startswith("config.yaml:1:10: worker.interval: must be ")


@pytest.mark.parametrize(
    ("written", "size"), [("64KiB", 65536), ("1MiB", 2**20), ("1kB", 1000), ("7", 7), ("7B", 7)]
)
def test_a_size_takes_a_unit_or_is_bytes(settings, written, size):
    assert settings.load(f"queue: {{max_item_bytes: {written}}}").queue.max_item_bytes == size


@pytest.mark.parametrize("written", ["0", "-1", "1.5", "0.3B", "1 mib", "lots", "true", "1TiB"])
def test_a_size_that_cannot_be_is_refused(settings, written):
    line = settings.problem(f"queue: {{max_item_bytes: {written}}}")

    assert line.startswith("config.yaml:1:9: queue.max_item_bytes: must be ")


@pytest.mark.parametrize("written", ["-1", "65536", "abc", "80.5", '"80"', "null"])
def test_a_port_that_cannot_be_is_refused(settings, written):
    assert "http.port: must be " in settings.problem(f"http: {{port: {written}}}")


@pytest.mark.parametrize(
    ("written", "share"),
    [("all", 1.0), ("failures", 0.0), ("none", 0.0), ("1%", 0.01), ("0.5%", 0.005), ("100%", 1.0)],
)
def test_the_share_of_logged_tasks(settings, written, share):
    assert settings.load(f"log: {{tasks: {written}}}").log.task_sample == share


@pytest.mark.parametrize("written", ["101%", "-1%", "some", "x%", "50"])
def test_a_share_that_cannot_be_is_refused(settings, written):
    assert "log.tasks: must be " in settings.problem(f"log: {{tasks: {written}}}")


def test_handlers_are_a_list_or_one(settings):
    assert settings.load("handlers: mypkg:async_handle").handlers == ("mypkg:async_handle",)
    assert settings.load("handlers: [a, b.c]").handlers == ("a", "b.c")


@pytest.mark.parametrize(
    ("written", "where", "says"),
    [
        ("[]", "1:1: handlers:", "must name at least one"),
        ("[a, a]", "1:1: handlers:", "names a twice"),
        ("[a, handlers/b.py]", "1:15: handlers[1]:", "not the path of a file"),
        ("[a, b:c:d]", "1:15: handlers[1]:", "must be a module"),
        ("[a, 1.0]", "1:15: handlers[1]:", "quote it"),
        ("''", "1:1: handlers[0]:", "must be a module"),
        ("null", "1:1: handlers[0]:", "must be text"),
    ],
)
def test_a_handler_that_cannot_be_is_refused_where_it_stands(settings, written, where, says):
    line = settings.problem(f"handlers: {written}")

    assert line.startswith(f"config.yaml:{where}")
    assert says in line


def test_models_can_be_made_in_code_and_are_frozen():
    config = Config(worker=WorkerConfig(lease_s=1.0, max_concurrent=2), http=HttpConfig(port=0))

    assert config.worker.lease_s == 1.0
    with pytest.raises(ValueError, match="frozen"):
        config.worker.lease_s = 2.0  # type: ignore[misc]


def test_a_token_that_is_too_short_is_refused_where_it_stands(settings):
    line = settings.problem("http:\n  token: secret\n")
    assert line.startswith("config.yaml:2:3: http.token: must have at least 16 characters")
    settings.load("http: {token: 0123456789abcdef}")


@pytest.mark.parametrize(
    "text",
    [
        "queue: {key: %s}",
        "redis: {password: %s}",
        "handlers: [%s]",
        "http: {host: %s}",
        "log: {level: %s}",
    ],
)
def test_text_that_utf_8_cannot_hold_is_refused(settings, text):
    line = settings.problem(text % '"\\ud83d"')
    assert "must be text that UTF-8 can hold" in line or "must be debug" in line


def test_two_lines_of_the_schedule_cannot_have_one_name(settings):
    line = """'nightly {} 3 * * * {{"type": "{}"}}'"""
    both = f"schedule: [{line.format(0, 'a')}, {line.format(30, 'b')}]"
    assert settings.problem(both).endswith("schedule: names nightly twice; keep one")
