"""One function on bytes decides what is a task; every codec comes to the same answer."""

from __future__ import annotations

import contextlib
import gc
import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrig import odd_values
from taskrig.task import REASONS, Invalid, _parse_exponents, decode, make_decoder, parse_strictly
from tests.support.bad_items import BAD, GOOD

CODECS = {
    "the one in use": decode,
    "the standard library alone": make_decoder(parse_strictly),
    "msgspec": make_decoder(msgspec.json.Decoder().decode),
    "many exponents": make_decoder(_parse_exponents),
}


@pytest.fixture(params=CODECS, ids=str)
def decoder(request):
    return CODECS[request.param]


def verdict(decoder, raw):
    """The reason why `raw` is invalid, or the task's fields."""
    try:
        task = decoder(raw)
    except Invalid as fault:
        return fault.reason
    return task.type, task.data


@pytest.mark.parametrize("name", BAD)
def test_an_item_that_is_no_task_is_refused_with_its_reason(decoder, name):
    raw, reason = BAD[name]
    assert verdict(decoder, raw) == reason
    assert reason in REASONS


@pytest.mark.parametrize("name", GOOD)
def test_an_item_that_is_a_task_is_taken_exactly(decoder, name):
    raw = GOOD[name]
    fields = json.loads(raw)
    kind, data = verdict(decoder, raw)
    assert (kind, data) == ("note", fields.get("data", {}))
    assert type(data) is type(fields.get("data", {}))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_task_or_invalid_and_nothing_else(raw):
    answer = verdict(decode, raw)
    assert isinstance(answer, tuple) or answer in REASONS


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_what_any_producer_writes_comes_back_as_it_was(data, escaped):
    raw = json.dumps({"type": "note", "data": data}, ensure_ascii=escaped).encode(
        "utf-8", "surrogatepass"
    )
    answer = verdict(decode, raw)
    if isinstance(answer, tuple):
        assert answer == ("note", data)
    else:
        assert answer in ("lone_surrogate", "not_utf8")


@given(JSON, st.data())
def test_codecs_agree_on_damaged_tasks(data, draw):
    raw = bytearray(json.dumps({"type": "note", "data": data}).encode())
    at = draw.draw(st.integers(0, len(raw) - 1))
    raw[at] = draw.draw(st.integers(0, 255))
    answers = {repr(verdict(decoder, bytes(raw))) for decoder in CODECS.values()}
    assert len(answers) == 1, answers


def test_the_optional_keys_count_also_where_there_is_no_data():
    task = decode(b'{"type": "note", "enqueued_at": 1795574691, "run": "r1:7"}')
    alone = decode(b'{"type": "note", "enqueued_at": 1795574691}')

    assert (task.enqueued_at, task.run) == (1795574691.0, ("r1", "7"))
    assert alone.enqueued_at == 1795574691.0


def test_an_id_is_text_or_a_whole_number(decoder):
    def id_of(text):
        return decoder(b'{"type": "x", "id": %s}' % text.encode()).id

    assert (id_of('"7"'), id_of("7"), id_of("-7")) == ("7", "7", "-7")
    assert [id_of(text) for text in ('""', "7.0", "true", "null", "[7]")] == [None] * 5


@pytest.fixture
def said(caplog, monkeypatch):
    """What was said of odd values, in a process that has said nothing yet."""
    monkeypatch.setattr(odd_values, "_said", set())
    monkeypatch.setattr(odd_values, "_near", dict.fromkeys(odd_values._near, 0.0))
    return lambda: list(caplog.messages)


AT_S = 1_760_000_000
ODD_MOMENTS = {
    str(AT_S * 10**3): "milliseconds",
    str(AT_S * 10**6): "microseconds",
    str(AT_S * 10**9): "nanoseconds",
    f"{AT_S}000.5": "milliseconds",
    "1e300": "too large",
    "9" * 4300: "too large",
    "0": "not positive",
    "-1": "not positive",
    f'"{AT_S}"': "text",
    '"2026-01-01"': "text",
    "true": "true or false",
    "false": "true or false",
    "[1]": "an array",
    "{}": "an object",
}


@pytest.mark.parametrize("key", ["enqueued_at", "run_at"])
@pytest.mark.parametrize(("text", "wrong"), ODD_MOMENTS.items(), ids=lambda value: value[:20])
def test_a_moment_that_is_not_unix_seconds_is_ignored_and_said_once(
    decoder, said, key, text, wrong
):
    for _ in range(3):
        task = decoder(b'{"type": "x", "%s": %s}' % (key.encode(), text.encode()))
        assert getattr(task, key) is None
    [line] = said()
    assert line.startswith(f"a task of type 'x' has an odd {key} (")
    assert f"{wrong}): it must be Unix seconds, such as 1" in line
    assert "it is ignored, so the " in line and len(line) < 300


@pytest.mark.parametrize("key", ["enqueued_at", "run_at"])
def test_a_length_of_time_in_place_of_a_moment_is_said_once(decoder, said, key):
    for _ in range(3):
        assert getattr(decoder(b'{"type": "x", "%s": 30}' % key.encode()), key) == 30
    [line] = said()
    assert f"odd {key} (30, before 2001): is it a length of time? it must be Unix seconds" in line


@pytest.mark.parametrize(("key", "ahead_s"), [("enqueued_at", 90_000), ("run_at", 400 * 86_400)])
def test_a_moment_that_is_far_ahead_is_used_and_said_once(decoder, said, key, ahead_s):
    at = int(time.time()) + ahead_s
    for _ in range(3):
        assert getattr(decoder(b'{"type": "x", "%s": %d}' % (key.encode(), at)), key) == at
    [line] = said()
    assert f"odd {key} " in line and "days ahead of this worker's clock" in line


def test_each_kind_of_mistake_has_its_own_line_and_good_values_have_none(decoder, said):
    for text in (b"1", b"2", b"true", b"null", b"%d" % AT_S, b"%d.25" % AT_S):
        decoder(b'{"type": "x", "run_at": %s, "enqueued_at": %s}' % (text, text))
    assert [line.split(" has an odd ")[1].split(")")[0] for line in said()] == [
        "enqueued_at (1, before 2001",
        "run_at (1, before 2001",
        "enqueued_at (true or false",
        "run_at (true or false",
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [('""', "empty"), ("7.0", "7.0, a fraction"), ("true", "true or false"), ("[7]", "an array")],
)
def test_an_id_that_is_none_is_ignored_and_said_once(decoder, said, text, wrong):
    for _ in range(3):
        assert decoder(b'{"type": "x", "id": %s}' % text.encode()).id is None
    [line] = said()
    assert f"an odd id ({wrong}): it must be text that is not empty, or a whole number" in line


def test_no_text_of_a_task_gets_into_such_a_line_as_it_is(decoder, said):
    decoder(json.dumps({"type": "x\ny" * 80, "id": ["a\nb"], "traceparent": 7}).encode())
    assert len(said()) == 2
    assert not any("\n" in line or len(line) > 300 for line in said())


SLOW = {
    "1e300": b"1e300",
    "close to the largest": b"1e308",
    "close to the smallest": b"4.9e-324",
    "capital": b"1E+300",
    "long": b"12345678901234567e290",
    "no exponent": b"9007199254740993.0",
    "three hundred digits": b"1" + b"0" * 300,
    "a fraction": b"0." + b"3" * 300,
    "an integer": b"1",
    "a list": b"[]",
    "a key": b'{"k":1}',
    "text": b'"\\ud83d\\ude00e1"',
}


@pytest.mark.parametrize("element", SLOW.values(), ids=SLOW)
def test_no_item_takes_much_longer_than_the_standard_library_needs(element):
    item = b'{"type":"x","data":[' + (element + b",") * (2**18 // (len(element) + 1)) + b"1]}"
    ours = min(_took_s(_decoded, item) for _ in range(3))
    theirs = min(_took_s(json.loads, item) for _ in range(3))
    assert ours < 10 * theirs


def _decoded(item):
    with contextlib.suppress(Invalid):
        decode(item)


def _took_s(parse, item):
    gc.disable()  # a collection looks at all that the tests before have left
    began = time.process_time()
    parse(item)
    took_s = time.process_time() - began
    gc.enable()
    return took_s
