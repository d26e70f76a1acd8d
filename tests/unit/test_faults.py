"""Exceptions as text: of the user's frames, bounded, whatever the exception does."""

from __future__ import annotations

import threading

import pytest

from taskrig.errors import MAX_ERROR_CHARS, describe
from taskrig.runtime.tracebacks import MAX_TRACE_BYTES, at_place, stands, trace


def raised(call, *arguments):
    """What a call raised, with its traceback."""
    try:
        call(*arguments)
    except BaseException as fault:
        return fault
    raise AssertionError("nothing was raised")


def throw(fault):
    raise fault


def test_a_traceback_names_file_line_function_and_source_and_no_value():
    def pay(card, secret="hunter2"):
        return {}[card]

    text = trace(raised(pay, "type")).text
    assert text.startswith("Traceback (most recent call last):\n")
    assert f'File "{__file__}", line ' in text
    assert "in pay\n    return {}[card]\nKeyError: 'type'" in text
    assert text.count("hunter2") == 0


def test_causes_contexts_and_notes_are_told_in_pythons_order():
    def handler():
        try:
            {}["k"]
        except KeyError as fault:
            fault.add_note("the key was missing")
            raise RuntimeError("no such order") from fault

    text = trace(raised(handler)).text
    first, then = text.split("The above exception was the direct cause")
    assert first.index("KeyError: 'k'") < first.index("the key was missing")
    assert then.endswith("RuntimeError: no such order")

    def clumsy():
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            int("x")

    assert "During handling of the above exception" in trace(raised(clumsy)).text


def test_a_chain_that_bites_its_tail_ends():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert trace(raised(throw, one)).text.endswith("ValueError: one")


def test_each_exception_of_a_group_is_told():
    inner = [raised(throw, ValueError("first")), raised(throw, OSError("second"))]
    text = trace(raised(throw, ExceptionGroup("many", inner))).text
    assert "ExceptionGroup: many (2 sub-exceptions)" in text
    assert "  | ValueError: first" in text and "  | OSError: second" in text


def deep(n):
    return deep(n + 1)


def left(n):
    return right(n + 1)


def right(n):
    return left(n + 1)


@pytest.mark.parametrize(("call", "says"), [(deep, "more calls like"), (left, "are left out")])
def test_a_thousand_frames_are_told_in_few_lines(call, says):
    text = trace(raised(call, 0)).text
    assert len(text.splitlines()) < 50
    assert says in text and text.endswith("RecursionError: maximum recursion depth exceeded")


def test_a_huge_message_or_many_causes_stay_within_the_bounds():
    fault = None
    for _ in range(50):
        following = ValueError("ä" * 10_000)
        following.__cause__ = fault
        fault = raised(throw, following)
    text = trace(fault).text
    assert len(text.encode()) <= MAX_TRACE_BYTES
    assert text.startswith("...\n") and text.endswith("...")


class _Meta(type):
    @property
    def __name__(cls):
        raise ValueError("no name")


class _Str(str):
    def __getitem__(self, at):
        raise ValueError("no slices")

    encode = split = isprintable = __getitem__


class Unprintable(Exception):
    def __str__(self):
        raise SystemExit(3)


class Nameless(Exception, metaclass=_Meta):
    pass


class OddText(Exception):
    def __str__(self):
        return _Str("odd")


class OddAttributes(Exception):
    __cause__ = __context__ = __traceback__ = __notes__ = property(lambda self: 1 / 0)


class OddClass(Exception):
    __class__ = property(lambda self: 1 / 0)


LONG = type("A" * 5000 + "\n2026-01-01 00:00:00.000 ERROR forged", (Exception,), {})


ODD = {
    "unprintable": Unprintable,
    "nameless": Nameless,
    "odd text": OddText,
    "odd attributes": OddAttributes,
    "odd class": OddClass,
    "long": LONG,
}


@pytest.mark.parametrize("kind", ODD.values(), ids=ODD)
def test_an_exception_that_misbehaves_when_it_is_looked_at_is_told_all_the_same(kind):
    fault = raised(throw, kind())
    line, told = describe(fault), trace(fault)
    assert line and line.isprintable() and len(line) <= MAX_ERROR_CHARS
    assert told.key[1:] == (__file__, throw.__code__.co_firstlineno + 1)
    assert 'test_faults.py", line' in told.text or kind is OddClass
    assert all(one.isprintable() for one in told.text.split("\n"))


def test_what_text_of_a_task_may_hold_does_not_break_out_of_its_line():
    evil = "a\nTraceback\r\x1b[2J\x9b\u2028b\u2029\x85\u202eb\x0b\x0c\x1c"
    lines = trace(raised(throw, ValueError(evil))).text.split("\n")
    assert lines[-1].startswith("ValueError: a Traceback")
    assert all(line.isprintable() for line in lines)


def test_the_place_of_a_syntax_error_is_that_of_the_code_that_does_not_parse():
    fault = raised(compile, "x = = 3\n", "/app/tasks.py", "exec")
    assert at_place(fault) == " (/app/tasks.py:1)"
    assert '  File "/app/tasks.py", line 1\n    x = = 3\nSyntaxError' in trace(fault).text


def test_where_a_thread_stands_is_told():
    go = threading.Event()
    ready = threading.Event()

    def handler():
        ready.set()
        go.wait(10)

    thread = threading.Thread(target=handler)
    thread.start()
    ready.wait(10)
    text = stands(thread).text
    go.set()
    thread.join()
    assert "in handler\n    go.wait(10)" in text
    assert stands(thread).text == ""
