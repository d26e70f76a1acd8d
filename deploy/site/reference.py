"""Pages of the reference that are made from the code."""

from __future__ import annotations

import argparse
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest import mock

import taskrig
import taskrig.errors
import taskrig.testing
from taskrig.cli.entry import build_parser as worker_parser
from taskrig.metrics import Metrics
from taskrig_loadgen.cli.entry import build_parser as loadgen_parser

SCRIPTS = Path(taskrig.__file__).parent / "broker" / "lua"


def pages() -> dict[str, str]:
    """Name of each page -> Markdown."""
    return {
        "commands.md": commands(),
        "metrics.md": metrics(),
        "api.md": api(),
        "scripts.md": scripts(),
    }


def commands() -> str:
    """The help of every command."""
    lines = ["# Commands", "", "Made from the programs: what `--help` of each command prints."]
    with mock.patch.dict(os.environ, {"COLUMNS": "96", "NO_COLOR": "1"}):
        for parser in (worker_parser(), loadgen_parser()):
            for one in _parsers(parser):
                lines += ["", f"## {one.prog}", "", "```text", one.format_help().rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, one in action.choices.items():
                if name[:1].isalpha():  # loadgen without a command has none
                    yield from _parsers(one)


def metrics() -> str:
    """Every metric of a worker."""
    text, _ = Metrics(["email"], concurrency=1, version="1", config="0").expose("")
    exposed = text.decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposed, re.M))
    labels: dict[str, set[str]] = {}
    for name, inside in re.findall(r"^(\w+)(?:\{(.*)\})? ", exposed, re.M):
        base = re.sub(r"_(total|bucket|sum|count|created|info)$", "", name)
        known = name if name in kinds else base
        labels.setdefault(known, set()).update(re.findall(r'(\w+)="', inside))
    rows = []
    for name, doc in sorted(re.findall(r"^# HELP (\S+) (.*)$", exposed, re.M)):
        its_labels = ", ".join(sorted(labels.get(name, set())))
        rows.append(f"| `{name}` | {kinds[name]} | {its_labels} | {_cell(doc)} |")
    return "\n".join(
        [
            "# Metrics",
            "",
            "Made from the code: what a worker's `/metrics` shows, beside those of the process.",
            "",
            "| name | kind | labels | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def api() -> str:
    """The public names, with their signatures and docstrings."""
    lines = ["# Python API", "", "Made from the code. What is not named here is not public."]
    for module in (taskrig, taskrig.testing, taskrig.errors):
        lines += ["", f"## {module.__name__}", "", _paragraphs(inspect.getdoc(module))]
        for name, thing in _public(module):
            lines += ["", f"### {name}", ""]
            if signature := _signature(name, thing):
                lines += ["```text", signature, "```", ""]
            lines.append(_paragraphs(inspect.getdoc(thing)))
            for method, function in _methods(thing):
                lines += ["", f"`{method}{_arguments(function)}`", ""]
                lines.append(_paragraphs(inspect.getdoc(function)))
    return "\n".join(lines) + "\n"


def _public(module: ModuleType) -> Iterator[tuple[str, object]]:
    names = getattr(module, "__all__", None) or [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__
    ]
    for name in sorted(names, key=str.lower):
        thing = getattr(module, name)
        if callable(thing):
            yield name, thing


def _methods(thing: object) -> Iterator[tuple[str, object]]:
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        for name, member in vars(thing).items():
            if not name.startswith("_") and inspect.isfunction(member):
                yield name, member


def _signature(name: str, thing: object) -> str:
    if inspect.isclass(thing) and issubclass(thing, Exception) and "__init__" not in vars(thing):
        return ""
    return f"{name}{_arguments(thing)}"


def _arguments(thing: object) -> str:
    try:
        return str(inspect.signature(thing)) if callable(thing) else ""
    except (TypeError, ValueError):
        return "(...)"


def scripts() -> str:
    """What stands at the head of each Lua script."""
    lines = ["# Scripts", "", "Made from the scripts that run in Redis: the head of each."]
    for path in sorted(SCRIPTS.rglob("*.lua")):
        head = []
        for line in path.read_text().splitlines():
            if line.startswith("#!"):
                continue
            if not line.startswith("--"):
                break
            head.append(line.removeprefix("--").removeprefix(" "))
        if head:
            lines += ["", f"## {path.relative_to(SCRIPTS)}", "", "```text", *head, "```"]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _paragraphs(text: str | None) -> str:
    """A docstring as Markdown: its lists of arguments and errors stay as they are."""
    if not text:
        return ""
    first, *sections = re.split(r"\n(?=(?:Args|Raises|Returns|Yields):\n)", text)
    blocks = [_escaped(first.strip())]
    blocks += [f"```text\n{section.strip()}\n```" for section in sections]
    return "\n\n".join(blocks)


def _escaped(text: str) -> str:
    return re.sub(r"<(?=\w)", "&lt;", text)
