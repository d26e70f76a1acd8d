"""What a handler is called with, and that one that cannot be called is refused at the start."""

from __future__ import annotations

import re
import sys

import pytest

from taskrig.authoring.registry import load_handlers
from taskrig.errors import UsageError
from taskrig.task import decode
from tests.support.typed import typed

RAW = b'{"type": "custom", "data": {"n": 1}, "id": "i-1", "shop": {"at": [1]}}'
WHOLE = {"type": "custom", "data": {"n": 1}, "id": "i-1", "shop": {"at": [1]}}

FUNCTIONS = """
from functools import partial, wraps
from taskrig import handler

def around(function):
    @wraps(function)
    def call(*arguments, **named): return function(*arguments, **named)
    return call

def with_session(function):
    @wraps(function)
    def call(task): return function(task, session=1)
    return call

def one(data): return data
def two(type, data): return type, data
def default(data, more=None): return data
def stars(*arguments): return arguments
def positional(data, /): return data
def named_too(data, *, more=None, **rest): return data
wrapped_one, wrapped_two = around(one), around(two)
@with_session
def session(data, *, session): return data
bound_two = partial(two, "t")
given = partial(two, data=5)
words = lambda data: data
class Handle:
    def __call__(self, data): return data
    def method(self, data): return data
    @staticmethod
    def static(data): return data
    @classmethod
    def of_class(cls, data): return data
handle, method = Handle(), Handle().method
static, of_class = Handle.static, Handle.of_class

def none(): ...
def three(a, b, c): ...
def named(data, *, more): ...
def only_named(*, data): ...
def yields(data): yield
async def yields_too(data): yield
unbound = Handle.method
number = 3
nothing = None
enough = partial(two, 1, 2)
made = partial(Handle)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "calls.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "calls", raising=False)
    return "calls"


def given_to(name):
    (entry,) = load_handlers([f"calls:{name}"]).entries()
    return entry.function(*entry.arguments(decode(RAW)))


WHOLE_TASK = (
    "one default positional named_too wrapped_one session words handle method static of_class"
)


@pytest.mark.parametrize("name", WHOLE_TASK.split())
def test_a_function_for_every_task_is_given_the_whole_task(module, name):
    assert given_to(name) == WHOLE


def test_with_two_parameters_it_is_given_type_and_data(module):
    assert given_to("two") == given_to("wrapped_two") == ("custom", {"n": 1})
    assert given_to("stars") == (WHOLE,)
    assert given_to("bound_two") == ("t", WHOLE)
    assert given_to("given") == (WHOLE, 5)


def test_a_whole_task_has_data_even_when_its_producer_gave_none(module):
    assert decode(b'{"type": "t"}').fields == {"type": "t", "data": {}}
    assert decode(b'{"type": "t", "data": null, "x": 1}').fields["data"] is None


FAULTS = {
    "none": r"calls\.py:\d+: calls\.none, .*must take one argument, the whole task.*takes \(\)",
    "three": r"calls\.py:\d+: .*it takes \(a, b, c\)",
    "named": r"calls\.py:\d+: .*it takes \(data, \*, more\)",
    "only_named": r"calls\.py:\d+: .*it takes \(\*, data\)",
    "enough": r"calls\.py:\d+: .*it takes \(\)",
    "yields": r"calls\.py:\d+: .*must not yield",
    "yields_too": r"calls\.py:\d+: .*must not yield",
    "Handle": r"calls\.py:\d+: .*is a class",
    "made": r"calls\.py:\d+: .*is a class",
    "unbound": r"calls\.py:\d+: .*is a method that needs an object",
    "number": r"calls\.py:\d+: an object of builtins\.int.*cannot be called",
    "nothing": r"calls\.py:\d+: .*NoneType.*cannot be called",
    "absent": r"has no function 'absent'.*it has",
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_called_with_a_task_is_refused_with_its_file_and_line(module, name):
    with pytest.raises(UsageError, match=FAULTS[name]):
        load_handlers([f"calls:{name}"])


DECORATED = """
from functools import wraps
from taskrig import handler
@handler("none")
def none(): ...
@handler("two")
def two(type, data): ...
@handler("named")
def named(data, *, more): ...
@handler("klass")
class Klass: ...
handler("number")(3)
class Tasks:
    @handler("method")
    def method(self, data): ...
    @handler("lone")
    async def lone(self): ...
    @handler("*")
    async def every(self, data): ...
    @handler("wrapped")
    @wraps(two)
    def wrapped(*arguments): ...
"""


def test_every_handler_that_cannot_be_called_is_named_at_once_by_worker_check(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "decorated.py").write_text(DECORATED)
    code, out, err = typed("check", "--set", "handlers=decorated")
    assert (code, out) == (2, b"")
    for line, why in (
        (4, r"decorated\.none, the handler of 'none', must take one argument, the task's data"),
        (6, r"decorated\.two, .*takes \(type, data\)"),
        (8, r"takes \(data, \*, more\)"),
        (10, "is a class"),
        (12, "cannot be called"),
        (14, "is a method that needs an object"),
        (16, "is a method that needs an object"),
        (18, "the handler of every type, is a method that needs an object"),
    ):
        assert re.search(rf"^worker: handlers: \S+decorated\.py:{line}: .*{why}", err, re.M), err
    assert len(err.splitlines()) == 8
    assert "Traceback" not in err


def test_worker_check_says_what_each_handler_is_called_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shown.py").write_text(
        "from taskrig import handler\n@handler('a')\nasync def a(data): ...\n"
        "def async_handle(data): ...\ndef typed(type, data): ...\n"
    )
    shown = [
        typed("check", "--set", f"handlers={name}")[1].decode()
        for name in ("shown", "shown:async_handle", "shown:typed", "taskrig.handlers")
    ]
    assert "shown.a(data), in the event loop\n" in shown[0] and re.search(
        r"any other +a dead letter", shown[0]
    )
    assert "shown.async_handle(the whole task), in a thread" in shown[1]
    assert "shown.typed(type, data), in a thread" in shown[2]
    assert "any other" not in "".join(shown[1:])
    assert "dry run: email.host is not set" in shown[3]


def test_a_function_that_handles_one_type_is_not_taken_for_all(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "one_type.py").write_text(
        "from taskrig import handler\n@handler('a')\ndef a(data): ...\n"
        "@handler('*', timeout_s=7)\ndef every(data): return data\n"
    )
    with pytest.raises(UsageError, match=r"is the handler of 'a' .*one_type\.py:2\); name its mod"):
        load_handlers(["one_type:a"])
    (every,) = load_handlers(["one_type:every"]).entries()
    assert every.options.timeout_s == 7
    assert every.function(*every.arguments(decode(RAW))) == WHOLE
