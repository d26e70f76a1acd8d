"""Read YAML into plain values, each with its place; every trap of YAML 1.1 is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from taskrig.config.interpolate import substituted
from taskrig.config.raw import Layer, Odd, Path, Place, Problem
from taskrig.config.yaml11 import number, reading_of, syntax_text

MAX_BYTES = 256 * 1024  # a pure Python parser reads this much in about a second
MAX_VALUES = 10_000  # aliases may multiply values: this bounds what they can make
MAX_DEPTH = 20

_STANDARD = "tag:yaml.org,2002:"

PlaceOf = Callable[[int, int, Path, str | None], Place]  # line and column count from 1


def read_file(path: FilePath, env: Mapping[str, str]) -> tuple[Layer, list[Problem]]:
    """The settings of a YAML file, and what is wrong with it."""
    name = str(path)
    text, trouble = _text_of(path)
    if trouble:
        return Layer(), [Problem(name, trouble)]

    def place_of(line: int, column: int, _path: Path, written: str | None) -> Place:
        return Place(f"{name}:{line}:{column}", f"{name}:{line}", written)

    reader = Reader(place_of, env)
    node = reader.compose(text)
    if node is None:
        if not reader.problems:
            reader.problems.append(
                Problem(name, "is empty; write a setting or leave the file out for the defaults")
            )
    elif not isinstance(node, MappingNode):
        kind = "a list" if isinstance(node, SequenceNode) else "a single value"
        where = place_of(node.start_mark.line + 1, node.start_mark.column + 1, (), None).where
        reader.problems.append(
            Problem(where, f"must hold keys at the top (worker: ...), not {kind}")
        )
    else:
        reader.layer.values = reader.mapping(node, ())
    return reader.layer, reader.problems


def _text_of(path: FilePath) -> tuple[str, str | None]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return "", "no such file"
    except IsADirectoryError:
        return "", "is a folder, not a file"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable file name"
        return "", f"cannot be read ({reason})"
    if len(raw) > MAX_BYTES:
        return "", f"is larger than {MAX_BYTES // 1024} KiB; is it a config file?"
    try:
        return raw.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return "", f"is not UTF-8 text (line {line}); save it as UTF-8"


class Reader:
    """Turns YAML nodes into plain values, collecting places and problems as it goes."""

    def __init__(self, place_of: PlaceOf, env: Mapping[str, str] | None) -> None:
        self.layer = Layer()
        self.problems: list[Problem] = []
        self._place_of = place_of
        self._env = env  # None: ${VAR} is left alone
        self._left = MAX_VALUES

    def compose(self, text: str) -> Node | None:
        """The root node; None when there is nothing or (see `problems`) it is not YAML."""
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            where = self._place_of(line, column, (), None).where
            self.problems.append(Problem(where, syntax_text(error)))
        except YAMLError:
            where = self._place_of(1, 1, (), None).where
            self.problems.append(Problem(where, "holds characters that YAML does not allow"))
        except RecursionError:
            where = self._place_of(1, 1, (), None).where
            self.problems.append(Problem(where, f"is nested deeper than {MAX_DEPTH} levels"))
        return None

    def value(self, node: Node, path: Path) -> Any:
        """The plain value of a node; places of what is below it are recorded."""
        self._left -= 1
        if self._left <= 0 or len(path) > MAX_DEPTH:
            if self._left == 0 or len(path) > MAX_DEPTH:
                self._left = 0
                self._problem(
                    node,
                    (),
                    f"has more than {MAX_VALUES:,} values or {MAX_DEPTH} levels; "
                    "do aliases (*name) multiply or contain themselves?",
                )
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        if isinstance(node, SequenceNode):
            return self._sequence(node, path)
        return self._scalar(node, path)

    def mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        """The keys and values of a mapping node."""
        self._check_tag(node, path, "map")
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if self._left <= 0:
                break
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in lines:
                text = f"appears twice (first on line {lines[key]}); keep one"
                self._problem(key_node, (*path, key), text, key=True)
                continue
            lines[key] = key_node.start_mark.line + 1
            self._record(key_node, (*path, key), value_node)
            result[key] = self.value(value_node, (*path, key))
        return result

    def _sequence(self, node: SequenceNode, path: Path) -> list[Any]:
        self._check_tag(node, path, "seq")
        result = []
        for index, item in enumerate(node.value):
            if self._left <= 0:
                break
            self._record(item, (*path, index), item)
            result.append(self.value(item, (*path, index)))
        return result

    def _key(self, node: Node, path: Path) -> str | None:
        if not isinstance(node, ScalarNode):
            self._problem(node, path, "a key must be a plain word; quote text that begins with { [")
            return None
        kind = node.tag.removeprefix(_STANDARD)
        text = str(node.value)
        if kind == "merge":
            self._problem(
                node, path, "merge keys (<<) are not supported; write the keys out", key=True
            )
            return None
        if kind not in ("str", "value"):
            reading = reading_of(kind)
            self._problem(
                node, (*path, text), f'YAML reads this key as {reading}: quote it ("{text}")'
            )
            return None
        return text

    def _scalar(self, node: Node, path: Path) -> Any:
        kind, text = node.tag.removeprefix(_STANDARD), str(node.value)
        if kind in ("str", "value"):
            if self._env is None or "${" not in text:
                return text
            value, troubles = substituted(text, self._env)
            for trouble in troubles:
                self._problem(node, path, trouble)
            return value
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in ("yes", "true", "on")
        if kind in ("int", "float"):
            return number(text)
        if kind == "timestamp":
            return Odd(text, "a date")
        self._check_tag(node, path, "str")
        return None

    def _check_tag(self, node: Node, path: Path, expected: str) -> None:
        if node.tag != _STANDARD + expected:
            self._problem(node, path, "tags (!name, !!python/...) are not allowed; quote text")

    def _record(self, at: Node, path: Path, node: Node) -> None:
        mark, written = at.start_mark, None
        if isinstance(node, ScalarNode):
            written = str(node.value) if node.style is None else f'"{node.value}"'
        self.layer.places[path] = self._place_of(mark.line + 1, mark.column + 1, path, written)

    def _problem(self, node: Node, path: Path, text: str, *, key: bool = False) -> None:
        """Note a problem at the setting `path`, or at this very key."""
        mark = node.start_mark
        here = self._place_of(mark.line + 1, mark.column + 1, path, None)
        place = here if key else self.layer.places.get(path, here)
        shown_path = None if place.names == path else path
        self.problems.append(Problem(place.where, text, shown_path))
