"""A result as CSV tables: the series, the timeline, the accounting. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import asdict, astuple

from taskrig_loadgen.maths.stats import PERCENTILES
from taskrig_loadgen.result.model import Result, TimelineRow

_STATISTICS = ("count", "mean", "stddev", "min", *PERCENTILES, "max")


def tables(result: Result) -> dict[str, str]:
    """File name -> text. Durations are in seconds; a figure that is not known is empty."""
    made = {
        "series.csv": _table(
            ("type", "series", *_STATISTICS),
            (
                [kind, name, *(figures.get(s) for s in _STATISTICS)]
                for kind, block in result.series.items()
                for name, figures in block.items()
            ),
        ),
        "accounting.csv": _table(("name", "tasks"), asdict(result.accounting).items()),
    }
    if result.timeline:
        made["timeline.csv"] = _table(TimelineRow.__struct_fields__, map(astuple, result.timeline))
    return made


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return out.getvalue()
