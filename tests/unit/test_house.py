"""The house rules that a reader feels: classes, functions and constructors of a readable size."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

import taskrig

PACKAGE = Path(taskrig.__file__).parent
ROOT = Path(__file__).parents[2]
ROOMS = ("engine", "process")
MOST_METHODS, MOST_ATTRIBUTES, MOST_LINES = 15, 12, 50


def trees(*folders):
    for folder in folders or (".",):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            yield path.relative_to(PACKAGE), ast.parse(path.read_text())


def classes():
    for path, tree in trees(*ROOMS):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield pytest.param(node, id=f"{path}:{node.name}")


def methods(node):
    return [one for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))]


def attributes(node):
    """What its constructor sets on itself; those of a tuple count each."""
    found = set()
    for constructor in (one for one in methods(node) if one.name == "__init__"):
        for at in ast.walk(constructor):
            stored = isinstance(at, ast.Attribute) and isinstance(at.ctx, ast.Store)
            if stored and isinstance(at.value, ast.Name) and at.value.id == "self":
                found.add(at.attr)
    return found


@pytest.mark.parametrize("node", list(classes()))
def test_a_class_is_small_enough_to_know(node):
    assert len(methods(node)) <= MOST_METHODS, [one.name for one in methods(node)]
    assert len(attributes(node)) <= MOST_ATTRIBUTES, sorted(attributes(node))


@pytest.mark.parametrize("node", list(classes()))
def test_a_constructor_takes_one_callback_at_most(node):
    for constructor in (one for one in methods(node) if one.name == "__init__"):
        every = [*constructor.args.args, *constructor.args.kwonlyargs]
        texts = [ast.unparse(one.annotation) for one in every if one.annotation is not None]
        assert sum("Callable[" in text for text in texts) <= 1, texts


def lines_of(node):
    """How many lines it has, without its docstring."""
    lines = (node.end_lineno or 0) - node.lineno + 1
    text = ast.get_docstring(node, clean=False)
    return lines - (text.count("\n") + 1 if text else 0)


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and lines_of(node) > MOST_LINES
    ]
    assert long == []


def test_architecture_names_the_layers_that_are_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    told = " ".join((ROOT / "ARCHITECTURE.md").read_text().split())
    for contract in contracts["contracts"]:
        if contract.get("containers") in (["taskrig"], ["taskrig.engine"]):
            assert " > ".join(contract["layers"]) in told, contract["name"]
