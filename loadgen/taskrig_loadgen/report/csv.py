"""A result as CSV tables: the series, the timeline, the accounting, the verdict. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import asdict, astuple

from taskrig_loadgen.maths.stats import PERCENTILES
from taskrig_loadgen.result.model import Result, TimelineRow
from taskrig_loadgen.result.verdict import checks

_STATISTICS = ("count", "mean", "stddev", "min", *PERCENTILES, "max")


def tables(result: Result) -> dict[str, str]:
    """File name -> text. Durations are in seconds; a figure that is not known is empty."""
    made = {
        "series.csv": _table(
            ("type", "series", *_STATISTICS, "of"),
            (
                [kind, name, *(figures.get(s) for s in _STATISTICS), of]
                for of, series in (
                    ("succeeded", result.series),
                    ("failed", result.failed_series or {}),
                )
                for kind, block in series.items()
                for name, figures in block.items()
            ),
        ),
        "verdict.csv": _table(
            ("check", "exit_code", "problem"),
            (
                [check.name, check.code, problem]
                for check in checks(result)
                for problem in check.problems or [""]
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
