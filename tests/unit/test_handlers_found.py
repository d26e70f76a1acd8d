"""A handler counts where its decorator ran, whatever its name is, in the modules that are named."""

from __future__ import annotations

import importlib
import sys

import pytest

from taskrig.authoring.registry import load_handlers
from taskrig.errors import UsageError
from taskrig.task import decode


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write modules of the test's own; they are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def put(**modules):
        for name, text in modules.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in path.relative_to(tmp_path).parents:
                (tmp_path / folder / "__init__.py").touch()
            path.write_text("from taskrig import handler, middleware, resource\n" + text)
        importlib.invalidate_caches()

    yield put
    for name in set(sys.modules) - before:
        del sys.modules[name]


def types(*names):
    return {entry.type for entry in load_handlers(names).entries()}


def call(entry, raw=b'{"type": "t", "data": 7}'):
    return entry.function(*entry.arguments(decode(raw)))


FACTORIES = """
def make(type):
    @handler(type)
    def made(data): return type, data

@handler("the_factories_own")
def own(data): ...
"""
MANY_WAYS = """
from functools import partial, wraps
from factories import make

for name in ("loop_a", "loop_b"):
    @handler(name)
    def run(data, name=name): return name, data

make("factory_a"), make("factory_b")

@handler("same_name_a")
def same(data): return "same_name_a", data
@handler("same_name_b")
def same(data): return "same_name_b", data

class Tasks:
    @staticmethod
    @handler("static_outside")
    def a(data): return "static_outside", data
    @handler("static_inside")
    @staticmethod
    def b(data): return "static_inside", data
    @classmethod
    @handler("class_outside")
    def c(cls, data): return cls is Tasks and "class_outside", data
    @handler("class_inside")
    @classmethod
    def d(cls, data): return cls is Tasks and "class_inside", data
    def e(self, data): return "bound", data
    def __call__(self, data): return "object", data
    class Inner:
        @staticmethod
        @handler("in_a_class_of_a_class")
        def a(data): return "in_a_class_of_a_class", data

handler("bound")(Tasks().e)
handler("object")(Tasks())
handler("partial")(partial(lambda name, data: (name, data), "partial"))
handler("lambda")(lambda data: ("lambda", data))

def set_up():
    @handler("nested")
    def nested(data): return "nested", data
set_up()

def twice(function):
    @wraps(function)
    def around(*arguments):
        name, data = function(*arguments)
        return name, data
    return around

@handler("wrapped")
@twice
def wrapped(data): return "wrapped", data

def marking(function):
    @wraps(function)
    def around(data): return f"outer {function(data)[0]}", data
    return around

@marking
@handler("decorated_above")
def above(data): return "decorated_above", data

@handler("two_types_a")
@handler("two_types_b")
def both(data, more=None, *rest, named=None): return "two_types", data

@handler("gone")
def gone(data): return "gone", data
del gone
"""


def test_a_handler_counts_whatever_its_name_is_and_whether_it_has_one(write):
    write(factories=FACTORIES, many_ways=MANY_WAYS)
    entries = load_handlers(["many_ways"]).entries()
    said = {entry.type: call(entry) for entry in entries}
    ways = (
        "loop_a loop_b factory_a factory_b same_name_a same_name_b static_outside static_inside "
        "class_outside class_inside in_a_class_of_a_class bound object partial lambda nested "
        "wrapped gone"
    )
    wanted = {name: (name, 7) for name in ways.split()}
    wanted |= {"two_types_a": ("two_types", 7), "two_types_b": ("two_types", 7)}
    wanted["decorated_above"] = ("outer decorated_above", 7)
    assert said == wanted


def test_a_helpers_handlers_count_where_they_are_imported_by_name_and_else_are_told_of(write):
    write(
        lib="@handler('by_name')\ndef one(data): ...\n@handler('left')\ndef two(data): ...\n",
        names_one="from lib import one\n@handler('own')\ndef own(data): ...\n",
        names_all="import lib\n@handler('own')\ndef own(data): ...\n",
    )
    registry = load_handlers(["names_one"])
    assert {entry.type for entry in registry.entries()} == {"by_name", "own"}
    assert "lib.two" in registry.hint("left") and "lib.py:4" in registry.hint("left")
    assert types("names_all") == {"own"}
    assert types("names_all", "lib") == {"own", "by_name", "left"}


def test_a_package_counts_with_all_that_is_in_it(write):
    one = "@handler('{0}')\ndef f(data): ...\n".format
    write(
        pkg____init__="from pkg import _private\n" + one("init"),
        pkg__tasks=one("tasks"),
        pkg___private=one("private"),
        pkg___left=one("left"),
        pkg__deep__below=one("below"),
        pkg__deep__deeper__most=one("most"),
        pkgother=one("other"),
    )
    assert types("pkg") == {"init", "tasks", "private", "below", "most"}
    assert types("pkg.deep") == {"below", "most"}
    assert types("pkg.tasks", "pkg") == types("pkg")


@pytest.mark.parametrize(
    "text",
    [
        "@handler('x')\ndef one(data): ...\n@handler('x')\ndef two(data): ...\n",
        "@handler('x')\ndef one(data): ...\n@handler('x')\ndef one(data): ...\n",
        "for n in 1, 2:\n    @handler('x')\n    def one(data): ...\n",
        "def make():\n    handler('x')(lambda data: 1)\nmake()\nmake()\n",
        "@handler('x')\n@handler('x', timeout_s=3)\ndef one(data): ...\n",
        "class A:\n    @staticmethod\n    @handler('x')\n    def one(data): ...\n"
        "@handler('x')\ndef one(data): ...\n",
        "@handler('*')\ndef one(data): ...\n@handler('*')\ndef two(data): ...\n",
    ],
)
def test_two_for_one_type_are_named_both_with_file_and_line(write, text):
    write(double=text)
    with pytest.raises(UsageError, match=r"two for .*double\.py:\d+\).*double\.py:\d+\)"):
        load_handlers(["double"])


def test_a_module_that_is_loaded_again_has_the_handlers_of_now(write, tmp_path):
    write(again="@handler('a')\ndef f(data): ...\n@handler('b')\ndef g(data): ...\n")
    assert types("again") == types("again", "again") == {"a", "b"}
    write(again="@handler('a')\ndef f(data): return 'new'\n@handler('c')\ndef h(data): ...\n")
    importlib.reload(sys.modules["again"])
    entries = {entry.type: entry for entry in load_handlers(["again"]).entries()}
    assert set(entries) == {"a", "c"}
    assert call(entries["a"]) == "new"
    del sys.modules["again"]
    assert types("again") == {"a", "c"}


def test_resources_and_middleware_count_where_they_are_declared_in_their_order(write):
    write(
        extras="@middleware\nasync def m0(at, call): ...\n"
        "for n in 1, 2:\n    @middleware\n    async def m(at, call, n=n): ...\n"
        "class A:\n    @staticmethod\n    @middleware\n    async def m3(at, call): ...\n"
        "@middleware\nasync def m4(at, call): ...\n"
        "for n in 5, 6:\n    @resource\n    async def r(n=n):\n        yield n\n"
        "r = None\n",
        uses="import extras\nfrom extras import m4\n@handler('x')\ndef f(data): ...\n",
    )
    found = load_handlers(["extras"])
    assert [one.__name__ for one in found.middleware] == ["m0", "m", "m", "m3", "m4"]
    assert [one.__defaults__ for one in found.middleware][1:3] == [(1,), (2,)]
    assert [one.name for one in found.resources] == ["extras.r", "extras.r"]
    assert [one.__name__ for one in load_handlers(["uses"]).middleware] == ["m4"]


def test_what_stands_in_for_something_absent_is_left_alone(write):
    write(
        proxies="class Proxy:\n    __class__ = property(lambda self: 1 / 0)\n"
        "    def __getattr__(self, name): raise RuntimeError\n"
        "    def __eq__(self, other): raise RuntimeError\n"
        "request = Proxy()\n@handler('x')\ndef f(data): ...\n"
        "class C:\n    def m(self, data): ...\nhandler('y')(C().m)\n"
    )
    assert types("proxies") == {"x", "y"}


def test_the_demos_handler_for_unknown_types_serves_only_beside_taskrigs_own(write):
    write(
        mine="@handler('mine')\ndef f(data): ...\n",
        any_of_mine="@handler('*')\ndef f(type, data): ...\n",
    )
    assert load_handlers(["taskrig.handlers"]).find("else").name.endswith("unknown_type")
    assert load_handlers(["taskrig.handlers", "taskrig.contrib.tracing"]).find("else") is not None
    assert load_handlers(["taskrig.handlers", "mine"]).find("else") is None
    assert load_handlers(["mine"]).find("else") is None
    assert load_handlers(["taskrig.handlers", "any_of_mine"]).find("else").name == "any_of_mine.f"
    assert load_handlers(["taskrig.handlers", "mine"]).find("fast_task") is not None


def test_a_type_without_a_handler_is_told_what_may_be_meant(write):
    write(mine="@handler('resize')\ndef f(data): ...\n")
    assert load_handlers(["mine"]).hint("reszie") == "; did you mean resize?"
    assert load_handlers(["mine"]).hint("other") == ""
