"""Workload files: a mix, a profile, payloads and expectations in YAML; errors with file:line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from taskrig.documents import read_file
from taskrig.errors import UsageError
from taskrig.places import Written
from taskrig_loadgen.analysis.expectations import Expectation, parse_expectation
from taskrig_loadgen.load.mix import ALIASES, Mix, mix_of
from taskrig_loadgen.load.pacer import Profile, constant, parse_arrivals, parse_profile
from taskrig_loadgen.load.payload import make_pool
from taskrig_loadgen.load.workload import DRAIN_TIMEOUT_S, Workload
from taskrig_loadgen.quantity import duration_s, rate_per_s, size_bytes

KEYS = (
    "mix",
    "rate",
    "duration",
    "profile",
    "arrivals",
    "seed",
    "shuffle",
    "warmup",
    "drain_timeout",
    "data",
    "expect",
)
DATA_KEYS = ("template", "size", "pool")

T = TypeVar("T")


def read_workload(path: Path) -> tuple[Workload, list[Expectation]]:
    """The workload and the expectations of a file.

    Raises:
        UsageError: every problem of YAML itself, or the first of its meaning, with file:line.
    """
    written, problems = read_file(path, os.environ)
    if problems:
        raise UsageError("\n".join(problem.line() for problem in problems))
    return _File(str(path), written[0]).workload()


class _File:
    """One file being read."""

    def __init__(self, name: str, written: Written) -> None:
        self._name = name
        self._places = written.inside
        self._values = written.value

    def workload(self) -> tuple[Workload, list[Expectation]]:
        self._known(self._values, KEYS, ())
        mix = self._mix()
        seed = self._whole("seed", 0)
        workload = Workload(
            mix=mix,
            profile=self._profile(),
            arrivals=self._text("arrivals", parse_arrivals, parse_arrivals("uniform")),
            seed=seed,
            shuffle=self._yes("shuffle"),
            warmup_s=self._text("warmup", duration_s, 0.0),
            drain_timeout_s=self._text("drain_timeout", duration_s, DRAIN_TIMEOUT_S),
            data=self._data(mix, seed),
        )
        return workload, self._expectations()

    def _mix(self) -> Mix:
        counts = self._values.get("mix")
        if not isinstance(counts, dict):
            raise UsageError(f"{self._at('mix')}: needs a mix, such as mix: {{fast: 3, slow: 1}}")
        for name in counts:
            mix_of({name: counts[name] or 1}, self._at("mix", name))
        return mix_of(counts, self._at("mix"))

    def _profile(self) -> Profile | None:
        has = {name for name in ("rate", "duration", "profile") if name in self._values}
        if not has:
            return None
        if has == {"profile"}:
            return self._text("profile", parse_profile, None)
        if has != {"rate", "duration"}:
            name = sorted(has)[0]
            raise UsageError(f"{self._at(name)}: give rate and duration, or profile alone")
        rate, length_s = (
            self._text("rate", rate_per_s, 0.0),
            self._text("duration", duration_s, 0.0),
        )
        return constant(rate, length_s)

    def _data(self, mix: Mix, seed: int) -> tuple[tuple[bytes, ...], ...]:
        given = self._values.get("data") or {}
        if not isinstance(given, dict):
            raise UsageError(
                f"{self._at('data')}: must be a mapping from type to template and size"
            )
        pools: dict[str, tuple[bytes, ...]] = {}
        for written, one in given.items():
            path = ("data", written)
            name = ALIASES.get(written, written)
            if name not in mix.types:
                raise UsageError(f"{self._at(*path)}: {written!r} is not in the mix")
            if name in pools:
                raise UsageError(f"{self._at(*path)}: {name} is given twice")
            if not isinstance(one, dict):
                raise UsageError(f"{self._at(*path)}: needs template, size or pool")
            self._known(one, DATA_KEYS, path)
            size = one.get("size")
            where = self._at(*path)
            pools[name] = make_pool(
                one.get("template"),
                size=None if size is None else size_bytes(str(size), f"{where}: size"),
                pool=self._count(one.get("pool"), f"{where}: pool"),
                seed=seed,
                where=where,
            )
        return tuple(pools.get(name, (b"{}",)) for name in mix.types) if pools else ()

    def _expectations(self) -> list[Expectation]:
        given = self._values.get("expect") or []
        listed = given if isinstance(given, list) else [given]
        return [
            parse_expectation(str(one), f"{self._at('expect', number)}: expect")
            for number, one in enumerate(listed)
        ]

    def _text(self, name: str, read: Callable[[str, str], T] | Callable[[str], T], other: T) -> T:
        """A value that a reader of text understands, its errors told with file:line."""
        value = self._values.get(name)
        if value is None:
            return other
        try:
            return read(str(value))  # type: ignore[call-arg]
        except UsageError as error:
            said = str(error).removeprefix("--")
            told = said if said.startswith(name) else f"{name}: {said}"
            raise UsageError(f"{self._at(name)}: {told}") from None

    def _whole(self, name: str, other: int) -> int:
        value = self._values.get(name, other)
        if not isinstance(value, int) or isinstance(value, bool):
            raise UsageError(f"{self._at(name)}: {name} must be a whole number, got {value!r}")
        return value

    def _count(self, value: Any, where: str) -> int | None:
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{where} must be a whole number of at least 1, got {value!r}")
        return value

    def _yes(self, name: str) -> bool:
        value = self._values.get(name, False)
        if value in ("yes", "on", "no", "off"):
            return value in ("yes", "on")
        if not isinstance(value, bool):
            raise UsageError(f"{self._at(name)}: {name} must be true or false, got {value!r}")
        return value

    def _known(self, values: dict[str, Any], names: tuple[str, ...], path: tuple[str, ...]) -> None:
        for key in values:
            if key not in names:
                near = difflib.get_close_matches(key, names, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
                raise UsageError(f"{self._at(*path, key)}: unknown key {key!r}; {hint}")

    def _at(self, *path: str | int) -> str:
        """file:line:column of a key, or the file where the key is missing."""
        place = self._places.get(path)
        return place.where if place else self._name
