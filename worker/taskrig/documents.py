"""YAML 1.2 as plain values, each with its place: config files, workload files, `--set`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml
from yaml.error import Mark, MarkedYAMLError, YAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from taskrig.places import Path, Place, Problem, Text, Written

MAX_BYTES = 256 * 1024  # a pure Python parser reads this much in about a second
MAX_VALUES = 10_000  # aliases may multiply values: this bounds what they can make
MAX_DEPTH = 20

_KINDS = {MappingNode: "map", SequenceNode: "seq", ScalarNode: "str"}
_WORDS = dict.fromkeys(("", "~", "null", "Null", "NULL"), None) | {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,39})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_REFERENCE = re.compile(r"\$?\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\})?")

_NO_FILE: dict[object, str] = {
    FileNotFoundError: "no such file",
    IsADirectoryError: "is a folder, not a file",
}
_SYNTAX = {  # what PyYAML says, and what helps
    "\\t": "a tab cannot indent YAML; use spaces",
    "'\t'": "a tab cannot indent YAML; use spaces",
    "undefined alias": (
        "an unquoted * begins an alias that is nowhere defined; quote text that begins so"
    ),
    "single document": "a second document (---) begins here; keep one",
    "duplicate anchor": "an anchor (&name) is defined twice; quote text that begins with &",
    "cannot start any token": "quote text that begins with @, ` or %",
    "mapping values are not allowed": (
        "unexpected colon; indent with equal spaces, quote text that holds ': '"
    ),
    "find expected ':'": "expected 'key: value'; is a colon, or the space after it, missing?",
    "": "is not YAML here; check indentation, quotes and brackets",
}


def read_file(path: FilePath, env: Mapping[str, str]) -> tuple[list[Written], list[Problem]]:
    """What a YAML file holds, as one mapping, and what is wrong with it."""
    name = str(path)

    def place_of(mark: Mark | None, written: str | None) -> Place:
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Place(f"{name}:{line}:{column}", f"{name}:{line}", written)

    reader = Reader(place_of, env)
    try:
        node = reader.compose(_text_of(path))
    except ValueError as error:
        return [], [Problem(name, str(error))]
    if isinstance(node, MappingNode):
        values = reader.value(node, ())
        return [Written((), values, place_of(None, None), reader.places)], reader.problems
    if node is not None:
        kind = "a list" if isinstance(node, SequenceNode) else "a single value"
        reader.note(node, (), f"must hold keys at the top (worker: ...), not {kind}")
    empty = Problem(name, "is empty; write a setting or leave the file out for the defaults")
    return [], reader.problems or [empty]


def _text_of(path: FilePath) -> str:
    try:
        return contents(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 text (line {line}); save it as UTF-8") from None
    except ValueError as error:
        text = str(error).replace(" KiB", " KiB; is it a config file?")
        raise ValueError(_NO_FILE.get(type(error.__cause__), text)) from None


def contents(path: FilePath, most: int, what: str = "") -> bytes:
    """What is in a file; raises ValueError where it cannot be had or is larger than `most`."""
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable file name"
        raise ValueError(f"{what}cannot be read ({reason})") from error
    if len(raw) > most:
        raise ValueError(f"{what}is larger than {most // 1024} KiB")
    return raw


class _Loader(yaml.SafeLoader):
    """Takes every scalar for text: what a plain one means is said by `_meaning`, not YAML 1.1."""

    yaml_implicit_resolvers = {}  # noqa: RUF012


@dataclass(slots=True)
class Reader:
    """Turns YAML nodes into plain values, collecting places and problems as it goes."""

    place_of: Callable[[Mark | None, str | None], Place]
    env: Mapping[str, str] | None  # None: ${VAR} is left alone
    problems: list[Problem] = field(default_factory=list)
    places: dict[Path, Place] = field(default_factory=dict)
    left: int = MAX_VALUES

    def compose(self, text: str) -> Node | None:
        """The root node; None when there is nothing or (see `problems`) it is not YAML."""
        mark: Mark | None = None
        try:
            return yaml.compose(text, Loader=_Loader)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = f"{error.context} {error.problem}"  # not to be shown: it may hold a password
            trouble = next(says for part, says in _SYNTAX.items() if part in said)
        except YAMLError:
            trouble = "holds characters that YAML does not allow"
        except RecursionError:
            trouble = f"is nested deeper than {MAX_DEPTH} levels"
        self.problems.append(Problem(self.place_of(mark, None).where, trouble))
        return None

    def value(self, node: Node, path: Path) -> Any:
        """The plain value of a node; places of what is below it are recorded."""
        self.left -= 1
        if self.left <= 0 or len(path) > MAX_DEPTH:
            if self.left >= 0:
                self.left = 0
                most = f"{MAX_VALUES:,} values or {MAX_DEPTH} levels"
                says = f"has more than {most}; do aliases (*name) multiply or contain themselves?"
                self.note(node, (), says)
            return None
        self._check_tag(node, path)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return self._sequence(node, path)
        text, plain = str(node.value), getattr(node, "style", None) is None
        if self.env is None or "${" not in text:
            return _meaning(text) if plain else text
        value, troubles = _substituted(text, self.env)
        for trouble in troubles:
            self.note(node, path, trouble)
        return value

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if self.left <= 0:
                break
            mark, key = key_node.start_mark, str(key_node.value)
            if not isinstance(key_node, ScalarNode):
                says = "a key must be a plain word; quote text that begins with { ["
                self.note(key_node, path, says)
            elif key == "<<" and key_node.style is None:
                says = "merge keys (<<) are not supported; write the keys out"
                self.problems.append(self.place_of(mark, None).problem(path, says))
            elif key in lines:
                says = f"appears twice (first on line {lines[key]}); keep one"
                self.problems.append(self.place_of(mark, None).problem((*path, key), says))
            else:
                self._check_tag(key_node, path)
                lines[key] = mark.line + 1
                result[key] = self._part(key_node, value_node, (*path, key))
        return result

    def _sequence(self, node: SequenceNode, path: Path) -> list[Any]:
        items = enumerate(node.value)
        return [self._part(item, item, (*path, n)) for n, item in items if self.left > 0]

    def _part(self, at: Node, node: Node, path: Path) -> Any:
        written = None
        if isinstance(node, ScalarNode):
            written = str(node.value) if node.style is None else f'"{node.value}"'
        self.places[path] = self.place_of(at.start_mark, written)
        return self.value(node, path)

    def _check_tag(self, node: Node, path: Path) -> None:
        if node.tag != f"tag:yaml.org,2002:{_KINDS[type(node)]}":
            self.note(node, path, "tags (!name, !!python/...) are not allowed; quote text")

    def note(self, node: Node, path: Path, text: str) -> None:
        """Note a problem with what stands at `path`, or else at this node."""
        place = self.places.get(path) or self.place_of(node.start_mark, None)
        self.problems.append(place.problem(path, text))


def _meaning(text: str) -> Any:
    """A plain scalar as YAML 1.2 reads it, but with leading zeros it is text, as it is in hex:
    012, 0x1F, no, 12:30 and 2026-01-31 are what they look like."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _SPECIAL.fullmatch(text) else text


def _substituted(text: str, env: Mapping[str, str]) -> tuple[Text, list[str]]:
    """`text` with the environment's values filled in, and what is wrong with its references.

    `${VAR:-default}` takes the default when VAR is not set or empty; `$${` is a literal `${`.
    """
    troubles: list[str] = []

    def fill(match: re.Match[str]) -> str:
        name, default = match.groups()
        if match[0].startswith("$$"):
            return match[0][1:]
        if default is not None:
            return env.get(name) or str(default[2:])
        if name is None:
            troubles.append("expected ${VAR} or ${VAR:-default}; write $${ for a literal ${")
        elif name not in env:
            missing = f"the environment variable {name} is not set"
            troubles.append(f"{missing}; set it, or write ${{{name}:-default}}")
        return env.get(name or "", "")

    return Text(_REFERENCE.sub(fill, text)), troubles
