"""What somebody probably meant who wrote something else. Pure."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping

MOST_CHARS = 120  # of a mix that is read loosely: the right form must fit into an error's line
_BETWEEN = r"[\s,;|&/+]*"
_COUNT = r"[0-9][0-9_]*(?:\.0+)?(?:[eE]\+?[0-9]{1,2})?k?"
_PAIR = re.compile(rf"([A-Za-z_][\w.-]*)\s*(?:=>|[=:*]{{1,2}}|\s)\s*({_COUNT})(?![\w.])")
_PAIRS = re.compile(rf"{_BETWEEN}(?:{_PAIR.pattern}{_BETWEEN})+")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?:[^0-9]|$))")
_QUOTES = str.maketrans("、", ",", "{}[]()\"'`")


def pairs(text: str) -> list[tuple[str, int]]:
    """Names and counts, however they are joined: `a:3;b=1e3`, `a 3 b 2`, full-width characters,
    JSON. Empty where the text holds anything else."""
    plain = unicodedata.normalize("NFKC", text[: MOST_CHARS + 1]).translate(_QUOTES)
    plain = _THOUSANDS.sub("", plain)
    if len(plain) > MOST_CHARS or not _PAIRS.fullmatch(plain):
        return []
    return [(name, _whole(count)) for name, count in _PAIR.findall(plain)]


def _whole(count: str) -> int:
    thousands = 1000 if count.endswith("k") else 1
    return round(float(count.rstrip("k").replace("_", "")) * thousands)


def meant_mix(text: str, aliases: Mapping[str, str], most: int) -> str:
    """The mix that `text` probably means, "" where that is not clear. No count is over `most`."""
    known = {*aliases, *aliases.values()}
    counts: dict[str, tuple[str, int]] = {}  # by the full name: as it was first written, the sum
    for name, count in pairs(text):
        written = name.lower() if name.lower() in known else name
        full = aliases.get(written, written)
        first, before = counts.get(full, (written, 0))
        counts[full] = first, before + count
    if any(count > most for _, count in counts.values()):
        return ""
    return ",".join(f"{name}={count}" for name, count in counts.values() if count)


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be, if any (`fsat`, `FAST` for `fast`)."""
    by_case = {other.casefold(): other for other in known}
    plain = unicodedata.normalize("NFKC", name).casefold()
    close = difflib.get_close_matches(plain, by_case, n=1, cutoff=0.75)
    return by_case[close[0]] if close else None
