"""One grammar of durations, sizes and rates, for config.yaml, flags, decorators and loadgen."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrig import units
from taskrig.authoring.options import rate
from taskrig.errors import UsageError
from taskrig.units import duration_text, size_text
from taskrig_loadgen import quantity

DURATIONS = {
    "0": 0.0,
    "90": 90.0,
    ".5": 0.5,
    "7.": 7.0,
    "800us": 0.0008,
    "800µs": 0.0008,
    "250ms": 0.25,
    "1.5s": 1.5,
    "5m": 300.0,
    "10min": 600.0,
    "10 min": 600.0,
    "1m30s": 90.0,
    "1h 30m": 5400.0,
    "2h": 7200.0,
    "1d": 86400.0,
    " 3s ": 3.0,
    "-1s": -1.0,
}
SIZES = {
    "0": 0,
    "512": 512,
    "7B": 7,
    "1KiB": 1024,
    "1.5KiB": 1536,
    "64 MiB": 64 * 2**20,
    "1GiB": 2**30,
    "1kB": 1000,
    "64KB": 64_000,
    "2MB": 2_000_000,
    "1GB": 10**9,
}
RATES = {
    "500": (500.0, 1.0),
    "0": (0.0, 1.0),
    "2k": (2000.0, 1.0),
    "100/s": (100.0, 1.0),
    "2k/s": (2000.0, 1.0),
    "1.5M/h": (1_500_000.0, 3600.0),
    "90/m": (90.0, 60.0),
    "90/min": (90.0, 60.0),
    "5/10s": (5.0, 10.0),
    "1/d": (1.0, 86400.0),
}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_a_duration_is_seconds_or_has_units(text, seconds):
    assert units.duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a duration; write it like 250ms, 30s, 5m or 1m30s"),
        ("s", "is not a duration"),
        ("ten", "is not a duration"),
        ("nan", "is not a duration"),
        ("1:30", "is not a duration"),
        ("--1", "is not a duration"),
        ("1 2", "is not a duration"),
        ("1m30", "is not a duration; give each part a unit, like 1m30s"),
        ("5s5", "is not a duration; give each part a unit, like 1m30s"),
        ("5x", "unknown unit 'x' in '5x'; use us, ms, s, m, h or d"),
        ("5S", "is not a duration"),
    ],
)
def test_what_is_not_a_duration_is_told_what_would_be(text, says):
    with pytest.raises(ValueError, match=says):
        units.duration_s(text)


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_a_size_is_bytes_or_has_a_unit(text, size):
    assert units.size_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "B", "-1", "0.3B", "1.5", "2x", "1 mib", "1GB2", "1TiB", "lots", "nan"]
)
def test_what_is_not_a_size_is_told_what_would_be(text):
    with pytest.raises(ValueError, match=r"is not a size; write it like 512, 1KiB or 2MiB"):
        units.size_bytes(text)


@pytest.mark.parametrize(("text", "expected"), RATES.items())
def test_a_rate_is_how_many_in_how_long(text, expected):
    assert units.rate(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "x", "-1", "5/", "5/x", "5/10", "5/0s", "/s", "k/s", "nan"])
def test_what_is_not_a_rate_is_told_what_would_be(text):
    with pytest.raises(ValueError, match=r"is not a rate; write it like 500, 500/s, 2k/s, 90/m"):
        units.rate(text)


@pytest.mark.parametrize("text", ["1" * 50_000 + "!", "1m" * 20_000 + "!", "1" * 50_000 + "/"])
def test_a_long_text_takes_no_time(text):
    started = time.process_time()
    for read in (units.duration_s, units.size_bytes, units.rate):
        with pytest.raises(ValueError, match=r"is no|each part"):
            read(text)
    assert time.process_time() - started < 5


@given(st.floats(0, 86400, allow_nan=False))
def test_a_printed_duration_reads_back_as_itself(seconds):
    printed = duration_text(seconds)

    if "e" not in printed:
        assert units.duration_s(printed) == pytest.approx(seconds, rel=1e-12)


@given(st.integers(1, 2**40))
def test_a_printed_size_reads_back_as_itself(size):
    assert units.size_bytes(size_text(size)) == size


@pytest.mark.parametrize(
    ("setting", "texts"),
    [("worker.interval", DURATIONS), ("dead_letters.invalid_max_bytes", SIZES)],
)
def test_a_setting_takes_the_whole_grammar(settings, setting, texts):
    section, key = setting.split(".")
    for text, value in texts.items():
        if 0 < value <= 3600 or key == "invalid_max_bytes":
            read = settings.load(flags={setting: text}).model_dump(by_alias=True)
            assert read[section][key] == pytest.approx(value), text


@pytest.mark.parametrize(("text", "expected"), RATES.items())
def test_loadgen_takes_every_rate_that_is_above_zero(text, expected):
    count, period_s = expected
    if count:
        assert quantity.rate_per_s(text) == pytest.approx(count / period_s)
    else:
        assert quantity.rate_or_zero(text) == 0
        with pytest.raises(UsageError, match="--rate: must be above 0, got '0'"):
            quantity.rate_per_s(text, "--rate")


def test_a_handlers_rate_limit_is_a_whole_count_with_its_period():
    for text, expected in RATES.items():
        if "/" in text and expected[0] <= 1_000_000:
            assert rate(text) == expected
    for text in ("500", "0/s", "1.5/s", "2M/s", "5/10ms", "1/2000000d", "soon"):
        with pytest.raises(ValueError, match='must be a rate such as "100/s", "5/10s" or "600/m"'):
            rate(text)
