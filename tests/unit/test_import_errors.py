"""A module of handlers that does not import: one line that names the line of the user's code."""

from __future__ import annotations

import sys

import pytest

from tests.support.typed import typed

BROKEN = {
    "a syntax error": ("x = 1\ndef f(:\n", "SyntaxError: ", 2),
    "an indentation error": ("x = 1\n  y = 2\n", "IndentationError: ", 2),
    "a name that is not there": ("import os\n\nx = undefined\n", "NameError: ", 3),
    "a module that is not there": ("\nimport no_such_thing\n", "ModuleNotFoundError: No module", 2),
    "a name that a library lacks": ("from json import no_such\n", "ImportError: cannot import", 1),
    "an error inside a library": ("import json\n\njson.loads('{')\n", "JSONDecodeError: ", 3),
    "an error in a function": ("def f():\n    1 / 0\n\nf()\n", "ZeroDivisionError: ", 2),
    "an exit at the top level": ("import sys\nsys.exit('no key')\n", "SystemExit: no key", 2),
    "a decorator called wrongly": (
        "from taskrig import handler\n\n@handler('')\ndef f(d): ...\n",
        "ValueError: ",
        3,
    ),
    "a setting that cannot be": (
        "from taskrig import handler\n\n@handler('a', batch=True)\ndef f(d): ...\n",
        "ValueError: batch must be",
        3,
    ),
    "an error without text": (
        "class E(Exception):\n    def __str__(self): raise KeyError\nraise E\n",
        "E (its message cannot be had)",
        3,
    ),
    "an error of several lines": ("raise ValueError('a\\nworker: forged')\n", "ValueError: a w", 1),
    "a file that is not UTF-8": (b"x = '\xff'\n", "SyntaxError: ", None),
    "a file with a zero byte": (b"x = 1\n\0\n", "SyntaxError: ", None),
}


@pytest.fixture
def check(tmp_path, monkeypatch):
    """`worker check` with a module of this text; returns what it said on standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)

    def begin(text, name="shop", **others):
        for file, source in {name: text, **others}.items():
            data = source if isinstance(source, bytes) else source.encode()
            (tmp_path / f"{file}.py").write_bytes(data)
        code, out, err = typed("check", "--set", f"handlers=[{name}]")
        assert (code, out) == (2, b""), err
        return err

    yield begin
    for name in set(sys.modules) - before:
        if name.startswith("shop"):
            del sys.modules[name]


@pytest.mark.parametrize(("text", "error", "line"), BROKEN.values(), ids=BROKEN)
def test_a_module_that_does_not_import_is_one_line_with_file_and_line(
    check, tmp_path, text, error, line
):
    said = check(text)
    assert said.count("\n") == 1 and "Traceback" not in said
    assert said.startswith("worker: handlers: 'shop': it does not import: ")
    assert error in said
    assert f"{tmp_path}/shop.py{f':{line}' if line else ''}" in said


def test_an_error_in_a_module_that_the_handlers_import_names_that_modules_line(check, tmp_path):
    said = check("import shop_models\n", shop_models="\n\nPRICE = 1 / 0\n")
    assert f"({tmp_path}/shop_models.py:3)" in said
    said = check("import shop_b\n", name="shop_c", shop_b="x = = 1\n")
    assert f"({tmp_path}/shop_b.py:1)" in said
