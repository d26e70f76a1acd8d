"""One function on bytes decides what is a task; every codec comes to the same answer."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.bad_items import BAD, GOOD
from worker.task import REASONS, Invalid, _tell_of_bad_run_at, decode, make_decoder, parse_strictly

CODECS = {
    "the one in use": decode,
    "the standard library alone": make_decoder(parse_strictly),
    "msgspec": make_decoder(msgspec.json.Decoder().decode),
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


def test_a_run_at_that_is_no_time_is_ignored_and_told_of_once(decoder, caplog):
    _tell_of_bad_run_at.cache_clear()
    for text in (b"1767225600000", b'"2026-01-01"', b"-1", b"true"):
        assert decoder(b'{"type": "x", "run_at": %s}' % text).run_at is None
    assert decoder(b'{"type": "x", "run_at": 1767225600}').run_at == 1767225600
    assert decoder(b'{"type": "x", "run_at": null}').run_at is None
    assert [line.partition(",")[0] for line in caplog.messages] == [
        "a task's run_at is not Unix seconds"
    ]
