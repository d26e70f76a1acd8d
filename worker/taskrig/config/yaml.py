"""Settings of `--set NAME=VALUE`, whose value is YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from yaml.nodes import MappingNode, ScalarNode

from taskrig.config.sources import setting_path
from taskrig.documents import Reader
from taskrig.places import Path, Place, Problem, Text, Written, dotted

# What YAML would take for a list: it is an IPv6 address, as in a URL.
_IN_BRACKETS = re.compile(r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%\w+)?\](:[0-9]+)?")
_SETTING = re.compile(r"[A-Za-z_]\w*(\..+)?", re.DOTALL)


def of_sets(sets: Sequence[str], problems: list[Problem]) -> list[Written]:
    """Settings of `--set a.b=c`, the value parsed as YAML; what is wrong is added to `problems`."""
    settings = []
    for item in sets:
        name, equals, text = item.partition("=")
        if equals and _SETTING.fullmatch(name.strip()):
            settings += _one_set(setting_path(name.strip()), text, problems)
        else:
            says = "expected NAME=VALUE, such as --set worker.max_concurrent=10"
            problems.append(Problem("--set", says))
    return settings


def _one_set(path: Path, text: str, problems: list[Problem]) -> list[Written]:
    flag, bare = f"--set {dotted(path)}", text.strip()

    def place_of(_mark: object, written: str | None) -> Place:
        return Place(flag, f"flag {flag}", written, path)

    reader = Reader(place_of, None, problems)
    before = len(problems)
    plain = _IN_BRACKETS.fullmatch(bare) is not None
    node = None if plain else reader.compose(text)
    if len(problems) > before:
        return []
    has_keys = len(path) == 1 or (path[0] == "tasks" and len(path) == 2)
    if plain or (isinstance(node, MappingNode) and not node.flow_style and not has_keys):
        return [Written(path, Text(bare), place_of(None, bare))]  # `::`, `a: b` are text here
    place = place_of(None, bare if node is None or isinstance(node, ScalarNode) else None)
    value = None if node is None else reader.value(node, path)
    return [Written(path, value, place, reader.places)]
