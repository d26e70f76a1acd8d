"""Several lists that are one queue: a strict order, or shares by weights."""

from __future__ import annotations

import re
from collections.abc import Sequence

from taskrig.keys import Keys

MOST = 16
_SEVERAL = re.compile(r"=\s*[0-9]+[;|&\s]")  # in a list's name: what stands between lists elsewhere


def weighted(text: str) -> tuple[str, int]:
    """A list's name and its weight, from "urgent=6"; weight 0 where none is given.

    Raises:
        ValueError: no name, or a weight that is none.
    """
    name, equals, weight = text.rpartition("=")
    if not equals:
        name = weight
    if not name:
        raise ValueError('must be a list, such as "urgent", or with its weight "urgent=6"')
    if _SEVERAL.search(name):
        raise ValueError("holds several lists; separate them with commas: [urgent=6, bulk=1]")
    if not equals:
        return name, 0
    if not (weight.isascii() and weight.isdigit() and 1 <= int(weight[:9]) <= 1000):
        raise ValueError(f"gives {name} no weight from 1 to 1000, such as {name}=6")
    return name, int(weight)


def parted(lists: Sequence[str], key: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The names of a queue's lists in order, and their weights (none: the order is strict).

    Args:
        lists: each with its weight, or without; none: the queue has one list.
        key: of the queue; one of the lists.

    Raises:
        ValueError: they do not fit together.
    """
    names = tuple(weighted(text)[0] for text in lists) or (key,)
    weights = tuple(weight for _, weight in map(weighted, lists) if weight)
    twice = [name for name in names if names.count(name) > 1]
    ours = [name for name in names if name.startswith(Keys.of(key or "-").prefix)]
    if twice:
        raise ValueError(f"lists names {twice[0]} twice; keep one")
    if key not in names:
        raise ValueError(f"lists must name the queue's key, {key}, at its place among them")
    if ours:
        raise ValueError(f"lists names {ours[0]}, which is a key of the worker's own")
    if len(names) > MOST:
        raise ValueError(f"lists has room for {MOST}: each holds a connection of every worker")
    if weights and len(weights) < len(names):
        raise ValueError("lists gives some of them a weight; give each one (urgent=6), or none")
    return names, weights
